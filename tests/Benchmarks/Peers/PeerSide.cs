namespace InferenceServer.Benchmarks.Peers;

/// <summary>Who was measured.</summary>
internal enum PeerSide
{
    Ours,

    LlamaCpp,
}
