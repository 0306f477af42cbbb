using InferenceServer.Cpu.Memory;

namespace InferenceServer.Cpu.Adapters;

/// <summary>
/// Memory for the A and B of adapters. A few blocks of adapters that went are kept for those that come: where adapters take turns, a load
/// then waits for no page of the system's to be cleared.
/// </summary>
internal sealed class AdapterBlocks : IDisposable
{
    private const int MostKept = 4;
    private const long MostKeptBytes = 64L << 20;
    private const long PageBytes = 2L << 20;

    private readonly Lock _lock = new();

    // Guarded by _lock.
    private readonly List<NativeBlock> _kept = [];
    private bool _isDisposed;

    /// <summary>At least so many bytes, with anything in them.</summary>
    /// <exception cref="OutOfMemoryException">The system has none.</exception>
    public NativeBlock Rent(long byteCount, string label)
    {
        if (byteCount < PageBytes)
        {
            // The heap keeps small ones itself.
            return new NativeBlock(byteCount, label);
        }

        long bytes = (byteCount + PageBytes - 1) / PageBytes * PageBytes;
        lock (_lock)
        {
            if (_kept.FindIndex(block => block.ByteCount == bytes) is int at and >= 0)
            {
                NativeBlock block = _kept[at];
                _kept.RemoveAt(at);
                return block;
            }
        }

        return new NativeBlock(bytes, label);
    }

    /// <summary>Takes back what nobody reads any more.</summary>
    public void Return(NativeBlock block)
    {
        List<NativeBlock> freed = [];
        lock (_lock)
        {
            if (_isDisposed || block.ByteCount is < PageBytes or > MostKeptBytes)
            {
                freed.Add(block);
            }
            else
            {
                _kept.Add(block);

                // The oldest goes: adapters of its size no longer come, or it would have been taken.
                while (_kept.Count > MostKept || _kept.Sum(kept => kept.ByteCount) > MostKeptBytes)
                {
                    freed.Add(_kept[0]);
                    _kept.RemoveAt(0);
                }
            }
        }

        freed.ForEach(one => one.Dispose());
    }

    /// <summary>Frees what is kept; what is in use is freed when it comes back.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isDisposed = true;
            _kept.ForEach(block => block.Dispose());
            _kept.Clear();
        }
    }
}
