using System.Text.Json.Serialization;
using InferenceServer.Training.Optimisation;

namespace InferenceServer.Training;

/// <summary>How a run is optimised; the names and defaults of torch and PEFT.</summary>
public sealed record TrainingOptions
{
    /// <summary>Which optimiser.</summary>
    public OptimizerKind Optimizer { get; init; } = OptimizerKind.AdamW;

    /// <summary>Largest learning rate of the schedule.</summary>
    public double LearningRate { get; init; } = 1e-3;

    public double Beta1 { get; init; } = 0.9;

    public double Beta2 { get; init; } = 0.999;

    /// <summary>Added to the root of the mean square; null for the optimiser's own default (AdamW 1e-8, LoRA-FA 1e-6).</summary>
    public double? Epsilon { get; init; }

    /// <summary>Decoupled weight decay.</summary>
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>Gradients longer than this, over all parameters together, are shortened to it; 0 leaves them.</summary>
    public double MaxGradientNorm { get; init; }

    /// <summary>Shape of the learning rate over the steps.</summary>
    public ScheduleKind Schedule { get; init; } = ScheduleKind.Constant;

    /// <summary>Steps over which the rate rises from 0.</summary>
    public int WarmUpSteps { get; init; }

    /// <summary>Steps after which the linear and cosine schedules reach 0.</summary>
    public int TotalSteps { get; init; }

    /// <summary>LoRA+: rate of B over that of A.</summary>
    public double LoraPlusRatio { get; init; } = 16;

    /// <summary>LoRA+: rate of embedding factors.</summary>
    public double LoraPlusEmbeddingRate { get; init; } = 1e-6;

    /// <summary>LoRA-FA: A stays as it starts. Always so with <see cref="OptimizerKind.LoraFa"/>.</summary>
    public bool FreezesA { get; init; }

    /// <summary>Most tokens of one micro-batch; sizes the activations.</summary>
    public int MaxBatchTokens { get; init; } = 1024;

    /// <summary>Most sequences of one micro-batch.</summary>
    public int MaxSequences { get; init; } = 64;

    /// <summary>
    /// Keeps the input of each layer only and computes the layer again on the way back: less memory for about a third more time. No bit of
    /// the gradients changes, so a run may be resumed with another choice.
    /// </summary>
    [JsonIgnore]
    public bool GradientCheckpointing { get; init; }

    /// <summary>Seed of all start values that are drawn.</summary>
    public int Seed { get; init; }
}
