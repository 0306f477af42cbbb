using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.KeyValues;

/// <summary>
/// The paged cache: <c>[L][blocks][keys, values][K][B][HeadStride]</c>. Tokens of a block follow each other head by head, so that a warp reads
/// whole heads of consecutive tokens in pieces of 16 bytes.
/// </summary>
internal sealed class CudaKvCache : KvCache
{
    private readonly CudaBuffer _buffer;

    /// <summary>Allocates the cache; its memory is not cleared, see <see cref="Buffer"/>.</summary>
    /// <param name="device">The device.</param>
    /// <param name="shape">Its geometry.</param>
    /// <param name="retired">Takes the memory when the cache is disposed.</param>
    /// <exception cref="ArgumentException">The shape has a number below 1, an odd head size, or a quantised format.</exception>
    /// <exception cref="DeviceMemoryException">The device has too little free memory.</exception>
    public CudaKvCache(CudaDevice device, KvCacheShape shape, RetiredMemory retired)
        : base(shape)
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

        int piece = 16 / ElementBytes;
        HeadStride = (shape.HeadSize + piece - 1) / piece * piece;
        if (2L * shape.KvHeads * shape.BlockSize * HeadStride > int.MaxValue)
        {
            throw new ArgumentException($"a block of {shape.BlockSize} tokens exceeds the {int.MaxValue} elements that a block may have in a layer");
        }

        PageStride = 2L * shape.KvHeads * shape.BlockSize * HeadStride;
        _buffer = new CudaBuffer(device, PageStride * shape.Blocks * shape.Layers * ElementBytes, "KV cache", retired);
    }

    /// <summary>The memory. It must be zeroed once: what lies between heads is read and must be no NaN.</summary>
    public CudaBuffer Buffer => _buffer;

    /// <summary>Whether elements are bf16.</summary>
    public bool IsBFloat16 => Shape.Format == WeightFormat.BF16;

    /// <summary>Elements from one token's head to the next, a multiple of 16 bytes.</summary>
    public int HeadStride { get; }

    /// <summary>Elements of a block in one layer.</summary>
    public long PageStride { get; }

    public override long ByteCount => _buffer.ByteCount;

    private int ElementBytes => IsBFloat16 ? 2 : 4;

    /// <summary>The CUDA form of a cache.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CudaKvCache Of(KvCache cache) => cache as CudaKvCache ?? throw new ArgumentException("the KV cache belongs to another backend");

    /// <summary>Address of a layer's first block.</summary>
    public ulong Layer(int layer) => _buffer.Address + (ulong)(layer * PageStride * Shape.Blocks * ElementBytes);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _buffer.Dispose();
        }
    }
}
