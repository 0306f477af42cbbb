using InferenceServer.Cpu.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.KeyValues;

/// <summary>
/// Keys and values in f32: for each layer, block and head the keys as <c>[D][positions]</c> and the values as <c>[positions][D]</c>.
/// </summary>
/// <remarks>
/// Attention makes scores with a lane for each key, and sums values with a lane for each element of the head; both ways round a vector
/// load is then a run of neighbours. The inner side of each is padded to 16, so that no kernel has a tail.
/// </remarks>
internal sealed unsafe class CpuKvCache : KvCache
{
    private const int Alignment = 16;

    private readonly NativeBlock _block;
    private readonly long _keyElements;
    private readonly long _headElements;

    public CpuKvCache(KvCacheShape shape, bool hugePages = true)
        : base(shape)
    {
        if (shape.Layers < 1 || shape.Blocks < 1 || shape.BlockSize < 1 || shape.KvHeads < 1 || shape.HeadSize < 1)
        {
            throw new ArgumentException($"KV cache geometry has a number below 1: {shape}");
        }

        if (shape.Format != WeightFormat.F32)
        {
            throw new ArgumentException($"keys and values in {shape.Format}: this backend keeps them in {WeightFormat.F32}");
        }

        KeyStride = RoundUp(shape.BlockSize);
        ValueStride = RoundUp(shape.HeadSize);
        _keyElements = (long)shape.HeadSize * KeyStride;
        _headElements = _keyElements + ((long)shape.BlockSize * ValueStride);
        long elements = checked(_headElements * shape.KvHeads * shape.Blocks * shape.Layers);
        _block = new NativeBlock(checked(elements * sizeof(float)), "KV cache", hugePages);
    }

    public override long ByteCount => _block.ByteCount;

    /// <summary>Floats from one element d of the keys to the next: the block size, padded.</summary>
    public int KeyStride { get; }

    /// <summary>Floats from one position of the values to the next: the head size, padded.</summary>
    public int ValueStride { get; }

    /// <summary>The CPU form of a cache.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CpuKvCache Of(KvCache cache) => cache as CpuKvCache ?? throw new ArgumentException("the KV cache belongs to another backend");

    /// <summary>Keys of one block and head, <c>[D][KeyStride]</c>.</summary>
    public float* Keys(int layer, int block, int head) =>
        (float*)_block.Pointer + ((((((long)layer * Shape.Blocks) + block) * Shape.KvHeads) + head) * _headElements);

    /// <summary>Floats from a block's and head's keys to its values.</summary>
    public long KeyElements => _keyElements;

    /// <summary>Values of one block and head, <c>[B][ValueStride]</c>.</summary>
    public float* Values(int layer, int block, int head) => Keys(layer, block, head) + _keyElements;

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _block.Dispose();
        }
    }

    private static int RoundUp(int count) => (count + Alignment - 1) / Alignment * Alignment;
}
