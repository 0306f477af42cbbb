using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>What a run left that is done: nothing of it needs to be trained again.</summary>
/// <param name="Outcome">Why it ended.</param>
/// <param name="Adapter">Name of the chosen adapter's folder in the run's folder; null when every weight was trained.</param>
public sealed record FinishedRun(RunOutcome Outcome, string? Adapter);
