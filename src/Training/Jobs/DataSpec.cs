using InferenceServer.Training.Data;

namespace InferenceServer.Training.Jobs;

/// <summary>How a job's data set is read.</summary>
public sealed record DataSpec
{
    private const int LongestName = 200;

    /// <summary>What errors call the data set.</summary>
    public string Name { get; init; } = "data.jsonl";

    /// <summary>Longest sample.</summary>
    public int MaxSampleTokens { get; init; } = 512;

    /// <summary>What becomes of longer ones.</summary>
    public LongSamplePolicy LongSamples { get; init; } = LongSamplePolicy.Truncate;

    /// <summary>Share held out to judge by.</summary>
    public double HeldOutShare { get; init; } = 0.05;

    /// <summary>Of the split and of the order of samples.</summary>
    public int Seed { get; init; }

    internal void Check()
    {
        if (Name.Length > LongestName || Name.Any(char.IsControl))
        {
            throw new TrainingSpecException("data.name", $"{Name.Length} characters: has to be at most {LongestName}, without control characters");
        }

        TrainingSpecException.Require(MaxSampleTokens >= 2, "data.max_sample_tokens", MaxSampleTokens, "at least 2");
        TrainingSpecException.Require(HeldOutShare is >= 0 and < 1, "data.held_out_share", HeldOutShare, "from 0 to below 1");
    }
}
