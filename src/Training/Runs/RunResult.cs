namespace InferenceServer.Training.Runs;

/// <summary>What a run leaves.</summary>
/// <param name="Outcome">Why it ended.</param>
/// <param name="StepCount">Steps done, those before a resume included.</param>
/// <param name="BestLoss">Lowest held-out loss; null without an evaluation.</param>
/// <param name="BestStep">The step after which it was measured; 0 without an evaluation.</param>
/// <param name="BestAdapter">Folder of the adapter of that step, in PEFT's format; null without an evaluation or of a full training.</param>
/// <param name="LastAdapter">Folder of the last step's adapter; null when cancelled or of a full training.</param>
/// <param name="Checkpoint">Folder of the last checkpoint.</param>
public sealed record RunResult(
    RunOutcome Outcome, int StepCount, double? BestLoss, int BestStep, string? BestAdapter, string? LastAdapter, string Checkpoint);
