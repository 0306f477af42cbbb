using System.Runtime.InteropServices;

namespace InferenceServer.Tensors.Packed;

/// <summary>A part of a mapped file, read-only, at a multiple of 4096 bytes of it. Whoever takes it disposes of it.</summary>
public sealed unsafe class MappedBytes : IDisposable
{
    private readonly SafeBuffer _view;
    private byte* _pointer;

    internal MappedBytes(SafeBuffer view, byte* pointer, long byteCount)
    {
        bool isAdded = false;
        view.DangerousAddRef(ref isAdded);
        _view = view;
        _pointer = pointer;
        ByteCount = byteCount;
    }

    public long ByteCount { get; }

    /// <summary>First byte; valid until disposed.</summary>
    public byte* Pointer => _pointer is not null ? _pointer : throw new ObjectDisposedException(nameof(MappedBytes));

    /// <summary>A copy, for tests and tools; of less than 2 GiB.</summary>
    public byte[] ToArray() => new ReadOnlySpan<byte>(Pointer, checked((int)ByteCount)).ToArray();

    public void Dispose()
    {
        if (_pointer is not null)
        {
            _pointer = null;
            _view.DangerousRelease();
        }
    }
}
