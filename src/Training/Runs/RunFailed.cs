namespace InferenceServer.Training.Runs;

/// <summary>The run failed; its checkpoints are still there.</summary>
/// <param name="Reason">The error's message.</param>
public sealed record RunFailed(string Reason) : TrainingEvent;
