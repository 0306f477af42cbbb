namespace InferenceServer.Training.Evaluation;

/// <summary>What a <see cref="GreedyGenerator"/> may take.</summary>
public sealed record GreedyOptions
{
    /// <summary>Most rows of one step; sizes the activations.</summary>
    public int MaxBatchTokens { get; init; } = 256;

    /// <summary>Most prompts that are answered at the same time; at most <see cref="MaxBatchTokens"/>.</summary>
    public int MaxSequences { get; init; } = 16;

    /// <summary>Most tokens whose keys and values are kept; long prompts are answered fewer at a time, down to one.</summary>
    public int MaxCacheTokens { get; init; } = 16 * 1024;
}
