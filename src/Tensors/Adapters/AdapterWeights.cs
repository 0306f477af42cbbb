namespace InferenceServer.Tensors.Adapters;

/// <summary>An adapter in host memory: one <see cref="LowRankDelta"/> for each module of the base that it changes.</summary>
public sealed class AdapterWeights
{
    private readonly StoredBytes? _bytes;

    /// <param name="label">name@digest, for messages.</param>
    /// <param name="deltas">By module index; null where the adapter leaves the module alone.</param>
    /// <param name="bytes">The file in which matrices still lie as they are stored, taken over; null when all are f32.</param>
    public AdapterWeights(string label, IReadOnlyList<LowRankDelta?> deltas, StoredBytes? bytes = null)
    {
        _bytes = bytes;
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

    /// <summary>Host bytes of all modules as f32, the most that they take.</summary>
    public long ByteCount { get; }

    /// <summary>The largest rank of any module.</summary>
    public int MaxRank { get; }

    /// <summary>Gives the memory of the file back for the next one, where there is one; matrices must not be read any more.</summary>
    public void Release() => _bytes?.Dispose();
}
