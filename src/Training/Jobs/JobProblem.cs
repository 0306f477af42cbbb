namespace InferenceServer.Training.Jobs;

/// <summary>Something about a job's folder that an operator should know.</summary>
/// <param name="Job">Name of the folder.</param>
/// <param name="Reason">What is wrong.</param>
public sealed record JobProblem(string Job, string Reason);
