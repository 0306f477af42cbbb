using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>One line of a job's log.</summary>
/// <param name="Number">From 1, without gaps, over the life of the job.</param>
/// <param name="Happened">What.</param>
public sealed record JobEvent(long Number, TrainingEvent Happened);
