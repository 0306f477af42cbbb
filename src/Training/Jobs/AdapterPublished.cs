using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>The job's adapter is in the catalog.</summary>
/// <param name="Adapter">name@digest.</param>
public sealed record AdapterPublished(string Adapter) : TrainingEvent;
