using InferenceServer.Training.Data;

namespace InferenceServer.Training.Checkpoints;

/// <summary>How far a run has come, besides what its trainer holds.</summary>
public sealed record RunProgress
{
    /// <summary>The batch to come.</summary>
    public DataPosition Position { get; init; }

    /// <summary>Lowest held-out loss so far; null before the first evaluation.</summary>
    public double? BestLoss { get; init; }

    /// <summary>The step after which it was measured.</summary>
    public int BestStep { get; init; }

    /// <summary>Evaluations in a row that were no better.</summary>
    public int EvaluationsSinceBest { get; init; }

    /// <summary>What must be the same for a resumed run to be the one that was interrupted (the data set's digest), by name.</summary>
    public IReadOnlyDictionary<string, string> Conditions { get; init; } = new Dictionary<string, string>();
}
