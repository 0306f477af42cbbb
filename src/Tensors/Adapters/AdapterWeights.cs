namespace InferenceServer.Tensors.Adapters;

/// <summary>An adapter in host memory: one <see cref="LowRankDelta"/> for each module of the base that it changes.</summary>
public sealed class AdapterWeights
{
    /// <param name="label">name@digest, for messages.</param>
    /// <param name="deltas">By module index; null where the adapter leaves the module alone.</param>
    public AdapterWeights(string label, IReadOnlyList<LowRankDelta?> deltas)
    {
        Label = label;
        Deltas = deltas;
        foreach (LowRankDelta? delta in deltas)
        {
            ByteCount += delta?.ByteCount ?? 0;
            MaxRank = Math.Max(MaxRank, delta?.Rank ?? 0);
        }
    }

    public string Label { get; }

    public IReadOnlyList<LowRankDelta?> Deltas { get; }

    /// <summary>Host bytes of all modules.</summary>
    public long ByteCount { get; }

    /// <summary>The largest rank of any module.</summary>
    public int MaxRank { get; }
}
