using InferenceServer.Cuda.Devices;

namespace InferenceServer.Cuda.Memory;

/// <summary>
/// Device memory for what an operation needs between its own kernels: one block each purpose, as large as the largest asked for. Only one stream may
/// use it. A block that was outgrown lives until <see cref="FreeOutgrown"/>, since launches may still name it.
/// </summary>
internal sealed class ScratchMemory : IDisposable
{
    private readonly CudaDevice _device;
    private readonly Dictionary<string, CudaBuffer> _blocks = new(StringComparer.Ordinal);
    private readonly List<CudaBuffer> _outgrown = [];

    public ScratchMemory(CudaDevice device) => _device = device;

    /// <summary>Memory for a purpose; what it holds is lost at the next call for the same one.</summary>
    /// <param name="purpose">Names the block.</param>
    /// <param name="byteCount">At least so many bytes.</param>
    /// <returns>Address, a multiple of 256.</returns>
    public ulong Take(string purpose, long byteCount)
    {
        if (_blocks.TryGetValue(purpose, out CudaBuffer? block) && block.ByteCount >= byteCount)
        {
            return block.Address;
        }

        // Twice what was there: a growing batch would outgrow its block step after step.
        CudaBuffer grown = new(_device, Math.Max(byteCount, 2 * (block?.ByteCount ?? 0)), purpose);
        if (block is not null)
        {
            _outgrown.Add(block);
        }

        _blocks[purpose] = grown;
        return grown.Address;
    }

    /// <summary>Frees what was outgrown; call it when the stream has done all its work.</summary>
    public void FreeOutgrown()
    {
        foreach (CudaBuffer block in _outgrown)
        {
            block.Dispose();
        }

        _outgrown.Clear();
    }

    public void Dispose()
    {
        FreeOutgrown();
        foreach (CudaBuffer block in _blocks.Values)
        {
            block.Dispose();
        }

        _blocks.Clear();
    }
}
