namespace InferenceServer.Cpu.Memory;

/// <summary>Scratch memory of each worker of the pool, grown when an operation needs more and kept: a warm step allocates nothing.</summary>
internal sealed unsafe class WorkerScratch : IDisposable
{
    private readonly NativeBlock?[] _blocks;
    private readonly bool _hugePages;

    public WorkerScratch(int workers, bool hugePages = true)
    {
        _blocks = new NativeBlock?[workers];
        _hugePages = hugePages;
    }

    /// <summary>At least this many floats, 64-byte aligned, with anything in them; valid until the same worker asks again.</summary>
    public float* Get(int worker, long count)
    {
        NativeBlock? block = _blocks[worker];
        long bytes = count * sizeof(float);
        if (block is null || block.ByteCount < bytes)
        {
            block?.Dispose();
            _blocks[worker] = null;
            block = new NativeBlock(Math.Max(bytes, 64 << 10), "scratch of a worker", _hugePages);
            _blocks[worker] = block;
        }

        return (float*)block.Pointer;
    }

    public void Dispose()
    {
        foreach (NativeBlock? block in _blocks)
        {
            block?.Dispose();
        }
    }
}
