namespace InferenceServer.Benchmarks.Load;

/// <summary>One request as its client saw it, in seconds.</summary>
/// <param name="ToFirstToken">From the call to the first token.</param>
/// <param name="PerOutputToken">Mean distance of the tokens after the first.</param>
internal readonly record struct RequestTiming(double ToFirstToken, double PerOutputToken);
