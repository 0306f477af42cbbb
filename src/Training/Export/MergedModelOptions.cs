namespace InferenceServer.Training.Export;

/// <summary>How a model folder is written.</summary>
public sealed record MergedModelOptions
{
    /// <summary>
    /// Writes every weight as f32, which keeps the fold as exact as serving has it; otherwise each tensor keeps the base's type, and one of
    /// bf16 or f16 is rounded once more, by up to 2^-9 or 2^-12 of each changed weight.
    /// </summary>
    public bool IsSinglePrecision { get; init; }

    /// <summary>Largest file of weights in bytes, one tensor at least; the default is that of transformers.</summary>
    public long MaxShardBytes { get; init; } = 5_000_000_000;
}
