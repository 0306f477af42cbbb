namespace InferenceServer.Training;

/// <summary>What one step did.</summary>
/// <param name="Number">Number of the step, from 1.</param>
/// <param name="Loss">Mean of the micro-batches' losses before the step.</param>
/// <param name="GradientNorm">Length of all gradients together, before clipping.</param>
/// <param name="LearningRates">Rate of each parameter group.</param>
public readonly record struct TrainingStep(int Number, double Loss, double GradientNorm, IReadOnlyList<double> LearningRates);
