using System.Runtime.InteropServices;

namespace InferenceServer.Tensors.Adapters;

/// <summary>
/// Memory for files that are read whole, one after another: a few blocks that were given back are kept, because memory that the process
/// has touched before costs no page faults, and managed arrays of this size a collection of the whole heap every few files.
/// </summary>
public sealed unsafe class StoredBytesPool : IDisposable
{
    private const int MostKept = 4;
    private const long MostKeptBytes = 64L << 20;

    // A little more than asked for, so that files of nearly the same length share blocks.
    private const long Granularity = 1L << 20;

    private readonly Lock _lock = new();

    // Guarded by _lock.
    private readonly List<(nint Pointer, long Capacity)> _kept = [];
    private bool _isDisposed;
    private long _lentBytes;

    /// <summary>Bytes of memory that was lent and has not come back.</summary>
    public long LentBytes => Interlocked.Read(ref _lentBytes);

    /// <summary>Memory for so many bytes, with anything in it.</summary>
    /// <exception cref="OutOfMemoryException">The system has none.</exception>
    public StoredBytes Rent(long byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteCount);
        long capacity = (Math.Max(byteCount, 1) + Granularity - 1) / Granularity * Granularity;
        void* pointer = Take(capacity);
        Interlocked.Add(ref _lentBytes, capacity);
        return new StoredBytes(this, pointer, capacity, byteCount);
    }

    /// <summary>Frees what is kept; what is in use is freed when it comes back.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isDisposed = true;
            foreach ((nint pointer, _) in _kept)
            {
                NativeMemory.Free((void*)pointer);
            }

            _kept.Clear();
        }
    }

    internal void Return(void* pointer, long capacity)
    {
        Interlocked.Add(ref _lentBytes, -capacity);
        lock (_lock)
        {
            if (!_isDisposed && capacity <= MostKeptBytes)
            {
                // The oldest goes: files of its length are no longer asked for, or it would have been taken.
                while (_kept.Count == MostKept || _kept.Sum(block => block.Capacity) > MostKeptBytes - capacity)
                {
                    NativeMemory.Free((void*)_kept[0].Pointer);
                    _kept.RemoveAt(0);
                }

                _kept.Add(((nint)pointer, capacity));
                return;
            }
        }

        NativeMemory.Free(pointer);
    }

    // From a finalizer: no lock is waited for.
    internal void Lose(void* pointer, long capacity)
    {
        Interlocked.Add(ref _lentBytes, -capacity);
        NativeMemory.Free(pointer);
    }

    private void* Take(long capacity)
    {
        lock (_lock)
        {
            int at = _kept.FindIndex(block => block.Capacity == capacity);
            if (at >= 0)
            {
                nint pointer = _kept[at].Pointer;
                _kept.RemoveAt(at);
                return (void*)pointer;
            }
        }

        return NativeMemory.Alloc((nuint)capacity);
    }
}
