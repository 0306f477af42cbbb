namespace InferenceServer.Demo.Making;

/// <summary>What a training took.</summary>
/// <param name="TrainedParameters">Parameters that it changed.</param>
/// <param name="Seconds">Its time, evaluations included.</param>
public sealed record TrainingRecord(long TrainedParameters, double Seconds);
