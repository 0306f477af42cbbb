namespace InferenceServer.Training.Jobs;

/// <summary>There is no job of this id.</summary>
public sealed class JobNotFoundException(string id) : Exception($"there is no training job '{id}'");
