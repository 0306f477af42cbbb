namespace InferenceServer.Benchmarks.Peers;

/// <summary>Who was measured.</summary>
internal enum PeerSide
{
    Ours,

    LlamaCpp,

    /// <summary>Reads of memory as fast as they go: the tokens per second of one that reads our weights once for each token and does nothing else.</summary>
    Memory,
}
