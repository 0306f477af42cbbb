using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>Held-out prompts were answered.</summary>
/// <param name="Right">Answers that were the completion.</param>
/// <param name="Total">Prompts.</param>
public sealed record ExactMatchMeasured(int Right, int Total) : TrainingEvent;
