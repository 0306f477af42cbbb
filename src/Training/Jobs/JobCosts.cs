namespace InferenceServer.Training.Jobs;

/// <summary>What a job took.</summary>
public sealed record JobCosts
{
    public long TrainableParameters { get; init; }

    /// <summary>Size of the exported weights.</summary>
    public long AdapterBytes { get; init; }

    /// <summary>Largest memory of parameters, moments, activations and gradients; the base is not in it.</summary>
    public long PeakBytes { get; init; }

    /// <summary>The base as this job keeps it.</summary>
    public long BaseBytes { get; init; }

    /// <summary>In steps, those that were done again after an interruption included; without waiting and evaluating.</summary>
    public double TrainingSeconds { get; init; }

    /// <summary>Tokens of those steps.</summary>
    public long Tokens { get; init; }

    public double TokensPerSecond => TrainingSeconds > 0 ? Tokens / TrainingSeconds : 0;
}
