namespace InferenceServer.Training.Starts;

/// <summary>Factors of a part of a weight: <c>Scale B A</c> is taken out of it and trained.</summary>
/// <param name="A"><c>[R, in]</c>.</param>
/// <param name="B"><c>[out, R]</c>.</param>
/// <param name="Scale">The adapter's scale s.</param>
public sealed record LowRankStart(float[] A, float[] B, float Scale);
