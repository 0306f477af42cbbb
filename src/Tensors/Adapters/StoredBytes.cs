namespace InferenceServer.Tensors.Adapters;

/// <summary>
/// A file's bytes in native memory, from a <see cref="StoredBytesPool"/>. Whoever forgets to give them back loses only the reuse: the
/// finalizer frees them.
/// </summary>
public sealed unsafe class StoredBytes : IDisposable
{
    private readonly StoredBytesPool _pool;
    private byte* _pointer;

    internal StoredBytes(StoredBytesPool pool, void* pointer, long capacity, long byteCount)
    {
        _pool = pool;
        _pointer = (byte*)pointer;
        Capacity = capacity;
        ByteCount = byteCount;
    }

    ~StoredBytes()
    {
        _pool.Lose(_pointer, Capacity);
        _pointer = null;
    }

    /// <summary>Bytes of the file.</summary>
    public long ByteCount { get; }

    /// <summary>Bytes of the memory.</summary>
    internal long Capacity { get; }

    /// <summary>First byte; valid until disposed, and only while this object is referenced.</summary>
    internal byte* Pointer => _pointer is not null ? _pointer : throw new ObjectDisposedException(nameof(StoredBytes));

    /// <summary>A part of the bytes; not to be used once this is disposed or no longer referenced.</summary>
    /// <param name="start">First byte.</param>
    /// <param name="count">Number of bytes.</param>
    public Span<byte> Slice(long start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start + count, ByteCount);
        return new Span<byte>(Pointer + start, count);
    }

    /// <summary>Gives the memory back; nobody may read from it any more.</summary>
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        void* pointer = _pointer;
        _pointer = null;
        if (pointer is not null)
        {
            _pool.Return(pointer, Capacity);
        }
    }
}
