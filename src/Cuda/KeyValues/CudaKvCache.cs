using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.KeyValues;

/// <summary>
/// The paged cache: <c>[blocks][L][keys, values][K][B][HeadStride]</c>. A block is one piece of memory, so that it can lie anywhere; in a layer of it
/// tokens follow each other head by head, so that a warp reads whole heads of consecutive tokens in pieces of 16 bytes.
/// </summary>
internal sealed class CudaKvCache : KvCache
{
    private readonly CudaBuffer _buffer;
    private readonly Action? _dispose;

    /// <summary>Allocates the cache; its memory is not cleared, see <see cref="Buffer"/>.</summary>
    /// <param name="device">The device.</param>
    /// <param name="shape">Its geometry.</param>
    /// <param name="retired">Takes the memory when the cache is disposed.</param>
    /// <exception cref="ArgumentException">The shape has a number below 1, an odd head size, or a quantised format.</exception>
    /// <exception cref="DeviceMemoryException">The device has too little free memory.</exception>
    public CudaKvCache(CudaDevice device, KvCacheShape shape, RetiredMemory retired)
        : base(shape)
    {
        HeadStride = HeadStrideOf(shape);
        PageStride = PageStrideOf(shape);
        _buffer = new CudaBuffer(device, BlockBytes(shape) * shape.Blocks, "KV cache", retired);
    }

    /// <summary>A cache in memory that somebody else owns.</summary>
    /// <param name="shape">Its geometry.</param>
    /// <param name="memory">Of all blocks.</param>
    /// <param name="dispose">Called when the cache is disposed.</param>
    public CudaKvCache(KvCacheShape shape, CudaBuffer memory, Action dispose)
        : base(shape)
    {
        HeadStride = HeadStrideOf(shape);
        PageStride = PageStrideOf(shape);
        _buffer = memory;
        _dispose = dispose;
    }

    /// <summary>The memory. It must be zeroed once: what lies between heads is read and must be no NaN.</summary>
    public CudaBuffer Buffer => _buffer;

    /// <summary>Whether elements are bf16.</summary>
    public bool IsBFloat16 => Shape.Format == WeightFormat.BF16;

    /// <summary>Elements from one token's head to the next, a multiple of 16 bytes.</summary>
    public int HeadStride { get; }

    /// <summary>Elements from one block to the next.</summary>
    public int PageStride { get; }

    public override long ByteCount => _buffer.ByteCount;

    /// <summary>Bytes of a block in all layers.</summary>
    /// <exception cref="ArgumentException">The shape has a number below 1, an odd head size, or a quantised format.</exception>
    public static long BlockBytes(KvCacheShape shape) => (long)PageStrideOf(shape) * ElementBytes(shape);

    /// <summary>The CUDA form of a cache.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CudaKvCache Of(KvCache cache) => cache as CudaKvCache ?? throw new ArgumentException("the KV cache belongs to another backend");

    /// <summary>Address of a layer in the first block.</summary>
    public ulong Layer(int layer) => _buffer.Address + (ulong)((long)layer * (PageStride / Shape.Layers) * ElementBytes(Shape));

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _buffer.Dispose();
            _dispose?.Invoke();
        }
    }

    private static int ElementBytes(KvCacheShape shape) => shape.Format == WeightFormat.BF16 ? 2 : 4;

    private static int HeadStrideOf(KvCacheShape shape)
    {
        int piece = 16 / ElementBytes(shape);
        return (shape.HeadSize + piece - 1) / piece * piece;
    }

    private static int PageStrideOf(KvCacheShape shape)
    {
        if (shape.Layers < 1 || shape.Blocks < 1 || shape.BlockSize < 1 || shape.KvHeads < 1 || shape.HeadSize < 1)
        {
            throw new ArgumentException($"KV cache geometry has a number below 1: {shape}");
        }

        if (shape.HeadSize % 2 != 0)
        {
            throw new ArgumentException($"head size {shape.HeadSize} is odd; keys and values are stored in pairs");
        }

        if (shape.Format is not (WeightFormat.F32 or WeightFormat.BF16))
        {
            throw new ArgumentException($"keys and values in {shape.Format}: this backend keeps them in {WeightFormat.F32} or {WeightFormat.BF16}");
        }

        long elements = 2L * shape.Layers * shape.KvHeads * shape.BlockSize * HeadStrideOf(shape);
        return elements <= int.MaxValue
            ? (int)elements
            : throw new ArgumentException($"a block of {shape.BlockSize} tokens exceeds the {int.MaxValue} elements that a block may have");
    }
}
