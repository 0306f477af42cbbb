namespace InferenceServer.Benchmarks.Load;

/// <summary>One request beside running streams, in seconds.</summary>
/// <param name="ToFirstToken">Of the request.</param>
/// <param name="UsualStep">Median distance of the others' tokens before it came.</param>
/// <param name="LargestStep">Largest distance of any other's tokens from when it came until it had its first token, and a step more.</param>
internal readonly record struct ColdTrial(double ToFirstToken, double UsualStep, double LargestStep);
