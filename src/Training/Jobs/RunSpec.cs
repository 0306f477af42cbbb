namespace InferenceServer.Training.Jobs;

/// <summary>Length of a job's run, and what a step is made of.</summary>
public sealed record RunSpec
{
    private const int MostBatchTokens = 1 << 16;
    private const double MostEpochs = 100_000;

    /// <summary>Steps of the run; 0 takes <see cref="Epochs"/>.</summary>
    public int Steps { get; init; }

    /// <summary>Times that the data is gone through.</summary>
    public double Epochs { get; init; } = 3;

    /// <summary>Most tokens of a micro-batch.</summary>
    public int MaxBatchTokens { get; init; } = 1024;

    /// <summary>Micro-batches whose gradients make one step.</summary>
    public int MicroBatches { get; init; } = 1;

    /// <summary>Steps between checkpoints.</summary>
    public int CheckpointEvery { get; init; } = 100;

    /// <summary>Of start values and dropout.</summary>
    public int Seed { get; init; }

    /// <summary>Less memory, more time; no bit changes.</summary>
    public bool GradientCheckpointing { get; init; }

    internal void Check()
    {
        TrainingSpecException.Require(Steps >= 0, "run.steps", Steps, "at least 0");
        TrainingSpecException.Require(Epochs is > 0 and <= MostEpochs, "run.epochs", Epochs, $"above 0 and at most {MostEpochs}");
        TrainingSpecException.Require(
            MaxBatchTokens is >= 2 and <= MostBatchTokens, "run.max_batch_tokens", MaxBatchTokens, $"from 2 to {MostBatchTokens}");
        TrainingSpecException.Require(MicroBatches is >= 1 and <= 65_536, "run.micro_batches", MicroBatches, "from 1 to 65536");
        TrainingSpecException.Require(CheckpointEvery >= 1, "run.checkpoint_every", CheckpointEvery, "at least 1");
    }
}
