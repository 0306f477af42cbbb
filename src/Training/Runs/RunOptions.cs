namespace InferenceServer.Training.Runs;

/// <summary>Length of a run, and what happens between its steps.</summary>
public sealed record RunOptions
{
    /// <summary>Steps of the whole run, those before a resume included.</summary>
    public required int Steps { get; init; }

    /// <summary>Batches whose gradients make one step.</summary>
    public int MicroBatches { get; init; } = 1;

    /// <summary>Seed of the orders of the data.</summary>
    public int DataSeed { get; init; }

    /// <summary>Steps between two evaluations on the held-out set; the last step is always followed by one. 0 for none in between.</summary>
    public int EvaluateEvery { get; init; }

    /// <summary>Steps between two checkpoints; there is always one at the end and at a cancellation. 0 for none in between.</summary>
    public int CheckpointEvery { get; init; } = 100;

    /// <summary>Checkpoints to keep.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    /// <summary>Evaluations in a row without a lower held-out loss after which the run ends; 0 never ends it early.</summary>
    public int Patience { get; init; }

    /// <summary>How much lower a held-out loss must be to count as better.</summary>
    public double MinImprovement { get; init; }

    /// <exception cref="ArgumentException">A value is out of its range.</exception>
    internal void Check()
    {
        Require(Steps >= 1, nameof(Steps), Steps, "at least 1");
        Require(MicroBatches >= 1, nameof(MicroBatches), MicroBatches, "at least 1");
        Require(EvaluateEvery >= 0, nameof(EvaluateEvery), EvaluateEvery, "at least 0");
        Require(CheckpointEvery >= 0, nameof(CheckpointEvery), CheckpointEvery, "at least 0");
        Require(KeepCheckpoints >= 1, nameof(KeepCheckpoints), KeepCheckpoints, "at least 1");
        Require(Patience >= 0, nameof(Patience), Patience, "at least 0");
        Require(MinImprovement >= 0, nameof(MinImprovement), MinImprovement, "at least 0");
    }

    private static void Require(bool holds, string name, double value, string limit)
    {
        if (!holds)
        {
            throw new ArgumentException($"{name} is {value}, must be {limit}");
        }
    }
}
