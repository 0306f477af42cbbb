namespace InferenceServer.Training.Checkpoints;

/// <summary>What a trainer's next steps depend on: parameters, moments, AdaLoRA's averages, and counters (dropout draws by them).</summary>
internal sealed class TrainerState
{
    /// <summary>Steps done.</summary>
    public required int StepCount { get; init; }

    /// <summary>Forwards done with recording; each seeds its random choices.</summary>
    public required ulong ForwardCount { get; init; }

    public Dictionary<string, float[]> Tensors { get; } = new(StringComparer.Ordinal);

    /// <exception cref="InvalidDataException">There is none of this name and size.</exception>
    public float[] Get(string name, long count) =>
        !Tensors.TryGetValue(name, out float[]? values) ? throw new InvalidDataException($"it has no '{name}'")
        : values.Length == count ? values
        : throw new InvalidDataException($"'{name}' has {values.Length} values, expected {count}");
}
