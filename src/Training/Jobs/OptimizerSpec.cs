using InferenceServer.Training.Optimisation;

namespace InferenceServer.Training.Jobs;

/// <summary>How a job's parameters are changed.</summary>
public sealed record OptimizerSpec
{
    public OptimizerKind Kind { get; init; } = OptimizerKind.AdamW;

    /// <summary>Peak of the schedule.</summary>
    public double LearningRate { get; init; } = 2e-4;

    public ScheduleKind Schedule { get; init; } = ScheduleKind.Cosine;

    /// <summary>Steps over which the rate rises from 0.</summary>
    public int WarmUpSteps { get; init; }

    /// <summary>Decoupled.</summary>
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>Longer gradients are shortened to it; 0 leaves them.</summary>
    public double MaxGradientNorm { get; init; } = 1;

    /// <summary>LoRA+: rate of B over that of A.</summary>
    public double LoraPlusRatio { get; init; } = 16;

    /// <summary>LoRA-FA of the paper: A keeps its start.</summary>
    public bool FreezesA { get; init; }

    internal void Check()
    {
        TrainingSpecException.Require(
            LearningRate > 0 && double.IsFinite(LearningRate), "optimizer.learning_rate", LearningRate, "a number above 0");
        TrainingSpecException.Require(WarmUpSteps >= 0, "optimizer.warm_up_steps", WarmUpSteps, "at least 0");
        TrainingSpecException.Require(
            WeightDecay >= 0 && double.IsFinite(WeightDecay), "optimizer.weight_decay", WeightDecay, "a number from 0");
        TrainingSpecException.Require(
            MaxGradientNorm >= 0 && double.IsFinite(MaxGradientNorm), "optimizer.max_gradient_norm", MaxGradientNorm, "a number from 0");
        TrainingSpecException.Require(
            LoraPlusRatio > 0 && double.IsFinite(LoraPlusRatio), "optimizer.lora_plus_ratio", LoraPlusRatio, "a number above 0");
    }
}
