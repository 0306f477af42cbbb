namespace InferenceServer.Training.Runs;

/// <summary>A checkpoint was written.</summary>
/// <param name="Folder">Where.</param>
public sealed record CheckpointSaved(string Folder) : TrainingEvent;
