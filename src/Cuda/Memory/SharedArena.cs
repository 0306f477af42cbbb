using InferenceServer.Cuda.Devices;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Memory;

namespace InferenceServer.Cuda.Memory;

/// <summary>
/// One allocation for KV blocks and adapters, which take chunks of it: what changes hands are numbers, and the driver is not asked for anything
/// after the start. Addresses stay valid for the arena's life; a chunk is handed on only when nothing under way uses it, so that none changes its
/// meaning under a kernel. Freed when both sides are done with it.
/// </summary>
internal sealed class SharedArena : IChunkSource, IDisposable
{
    private const long Alignment = 128; // of adapters' pages
    private const long MostChunkBytes = 8 << 20;
    private const int FewestChunks = 256; // where chunks would otherwise be larger than a block

    private readonly CudaDevice _device;
    private readonly CudaBuffer _memory;
    private readonly Lock _gate = new();
    private int _users = 1; // under _gate: the KV cache, and each chunk that adapters have

    /// <param name="device">The device.</param>
    /// <param name="byteCount">Bytes; a chunk less at most is used.</param>
    /// <param name="blockBytes">Bytes of a KV block, all layers.</param>
    /// <param name="retired">Takes the memory in the end.</param>
    /// <exception cref="DeviceMemoryException">The device has too little, or not even a chunk was asked for.</exception>
    public SharedArena(CudaDevice device, long byteCount, long blockBytes, RetiredMemory retired)
    {
        _device = device;
        int blocks = BlocksPerChunk(byteCount, blockBytes);
        long chunkBytes = blocks * blockBytes;
        if (byteCount < chunkBytes)
        {
            throw new DeviceMemoryException($"{byteCount} bytes for KV blocks and adapters hold no chunk of {chunkBytes} bytes");
        }

        Chunks = new ChunkBudget(checked((int)(byteCount / chunkBytes)), chunkBytes, blocks);
        _memory = new CudaBuffer(device, Chunks.ByteCount, "KV blocks and adapters", retired);
    }

    public ChunkBudget Chunks { get; }

    /// <summary>Address of block 0.</summary>
    public ulong Address => _memory.Address;

    public long ByteCount => _memory.ByteCount;

    public long HeldBytes => Chunks.AdapterCount * Chunks.ChunkBytes;

    /// <summary>
    /// KV blocks of a chunk: at most 8 MiB of them, so that a sequence fills a few chunks and the pages of one size waste less than one; at least one
    /// block; as many as keep adapters' pages aligned.
    /// </summary>
    public static int BlocksPerChunk(long byteCount, long blockBytes)
    {
        long wanted = Math.Min(MostChunkBytes, byteCount / FewestChunks);
        long blocks = Math.Max(1, wanted / blockBytes);
        while (blocks * blockBytes % Alignment != 0)
        {
            blocks++;
        }

        return checked((int)blocks);
    }

    public CudaBuffer Take(long byteCount)
    {
        int count = checked((int)((byteCount + Chunks.ChunkBytes - 1) / Chunks.ChunkBytes));
        if (!Chunks.TryTakeForAdapters(count, out int first))
        {
            throw new DeviceMemoryException(
                $"{count * Chunks.ChunkBytes} more bytes are not free in the memory of {Chunks.ByteCount} bytes that adapters share with KV blocks, which have {Chunks.KvCount * Chunks.ChunkBytes} of it",
                isShared: true);
        }

        Join(count);
        return new CudaBuffer(_device, Address + (ulong)(first * Chunks.ChunkBytes), count * Chunks.ChunkBytes, "adapter pages");
    }

    public void Return(CudaBuffer chunk)
    {
        int count = (int)(chunk.ByteCount / Chunks.ChunkBytes);
        Chunks.ReturnFromAdapters((int)((long)(chunk.Address - Address) / Chunks.ChunkBytes), count);
        Leave(count);
    }

    /// <summary>Nothing: what is free here is free for KV blocks.</summary>
    public void Trim()
    {
    }

    /// <summary>The KV cache is gone; the memory goes with the last chunk of an adapter.</summary>
    public void Dispose() => Leave(1);

    private void Join(int count)
    {
        lock (_gate)
        {
            _users += count;
        }
    }

    private void Leave(int count)
    {
        lock (_gate)
        {
            _users -= count;
            if (_users == 0)
            {
                _memory.Dispose();
            }
        }
    }
}
