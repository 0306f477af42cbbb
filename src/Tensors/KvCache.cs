namespace InferenceServer.Tensors;

/// <summary>Geometry of a paged KV cache.</summary>
/// <param name="Layers">Decoder layers L.</param>
/// <param name="Blocks">KV blocks.</param>
/// <param name="BlockSize">Tokens a block B.</param>
/// <param name="KvHeads">Key/value heads K.</param>
/// <param name="HeadSize">Elements a head D.</param>
/// <param name="Format">How elements are kept: F32, or BF16, rounded to nearest even when they are stored.</param>
public sealed record KvCacheShape(
    int Layers, int Blocks, int BlockSize, int KvHeads, int HeadSize, WeightFormat Format = WeightFormat.F32)
{
    /// <summary>Bytes of one block over all layers, keys and values, without a backend's padding.</summary>
    public long BytesPerBlock => 2L * Layers * BlockSize * KvHeads * HeadSize * (Format == WeightFormat.BF16 ? 2 : 4);
}

/// <summary>Keys and values of all layers, in blocks; the layout is the backend's own.</summary>
public abstract class KvCache : IDisposable
{
    protected KvCache(KvCacheShape shape) => Shape = shape;

    public KvCacheShape Shape { get; }

    /// <summary>Device bytes.</summary>
    public abstract long ByteCount { get; }

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
