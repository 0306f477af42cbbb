namespace InferenceServer.Models.PackedWeights;

/// <summary>What became of the cache at a start.</summary>
/// <param name="Kind">What happened.</param>
/// <param name="File">The file.</param>
/// <param name="Detail">How much, or what was wrong.</param>
public sealed record PackedCacheEvent(PackedCacheEventKind Kind, string File, string Detail);
