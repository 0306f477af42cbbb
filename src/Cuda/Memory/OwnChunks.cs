using InferenceServer.Cuda.Devices;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Memory;

/// <summary>
/// Chunks allocated one by one when needed, and kept: freeing device memory waits for all of the device's work, and so it is done only to stay
/// within the limit, or by <see cref="Trim"/>.
/// </summary>
internal sealed class OwnChunks : IChunkSource
{
    private readonly CudaDevice _device;
    private readonly long _limitBytes;
    private readonly long _chunkBytes;
    private readonly List<CudaBuffer> _spare = [];

    /// <param name="device">The device.</param>
    /// <param name="limitBytes">Most bytes of all chunks; 0 for what the device has.</param>
    /// <param name="chunkBytes">Bytes of a chunk; a longer one is a multiple.</param>
    public OwnChunks(CudaDevice device, long limitBytes, long chunkBytes)
    {
        _device = device;
        _limitBytes = limitBytes;
        _chunkBytes = chunkBytes;
    }

    public long HeldBytes { get; private set; }

    public CudaBuffer Take(long byteCount)
    {
        long rounded = (byteCount + _chunkBytes - 1) / _chunkBytes * _chunkBytes;
        int spare = _spare.FindIndex(memory => memory.ByteCount == rounded);
        if (spare >= 0)
        {
            CudaBuffer memory = _spare[spare];
            _spare.RemoveAt(spare);
            return memory;
        }

        if (_limitBytes > 0 && HeldBytes + rounded > _limitBytes)
        {
            // Spare ones of another size.
            Trim();
            if (HeldBytes + rounded > _limitBytes)
            {
                throw new DeviceMemoryException($"{rounded} more bytes exceed AdapterMemoryBytes {_limitBytes}, of which {HeldBytes} are in use");
            }
        }

        CudaBuffer allocated = new(_device, rounded, "adapter pages");
        HeldBytes += rounded;
        return allocated;
    }

    public void Return(CudaBuffer chunk) => _spare.Add(chunk);

    public void Trim()
    {
        foreach (CudaBuffer memory in _spare)
        {
            HeldBytes -= memory.ByteCount;
            memory.Dispose();
        }

        _spare.Clear();
    }
}
