using System.Runtime.InteropServices;
using InferenceServer.Cpu.Memory.Interop;
using InferenceServer.Tensors.Packed;

namespace InferenceServer.Cpu.Memory;

/// <summary>
/// Zeroed native memory, aligned to a cache line (64 bytes) or, from 2 MB on under Linux, to a huge page, which the kernel is asked to
/// use: fewer address translations while weights stream past. Freed by <see cref="Dispose"/>; the finalizer is a safety net.
/// </summary>
internal sealed unsafe class NativeBlock : IDisposable
{
    private const nuint LineBytes = 64;
    private const long HugePageBytes = 2L << 20;

    private MappedBytes? _file;
    private void* _mapping;
    private nuint _mappedBytes;
    private byte* _pointer;

    /// <param name="byteCount">Bytes.</param>
    /// <param name="label">What it is for.</param>
    /// <param name="hugePages">Whether to ask for huge pages; false asks for none, also where the system gives them to everybody.</param>
    /// <exception cref="OutOfMemoryException">The system has no memory for it; names the label and the bytes.</exception>
    public NativeBlock(long byteCount, string label, bool hugePages = true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteCount);
        ByteCount = byteCount;
        try
        {
            if (byteCount >= HugePageBytes && OperatingSystem.IsLinux())
            {
                Map(byteCount, label, hugePages);
            }
            else
            {
                // One byte at least, so that the pointer is never null.
                nuint bytes = (nuint)Math.Max(byteCount, 1);
                _pointer = (byte*)NativeMemory.AlignedAlloc(bytes, LineBytes);
                NativeMemory.Clear(_pointer, bytes);
            }
        }
        catch (OutOfMemoryException exception)
        {
            throw new InsufficientMemoryException($"no memory for '{label}': {byteCount} bytes", exception);
        }
    }

    /// <summary>Memory of a mapped file instead, which must not be written to; taken over.</summary>
    /// <param name="mapped">The bytes.</param>
    /// <param name="byteCount">How many of them, from the first on.</param>
    public NativeBlock(MappedBytes mapped, long byteCount)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(byteCount, mapped.ByteCount);
        ByteCount = byteCount;
        _file = mapped;
        _pointer = mapped.Pointer;
    }

    ~NativeBlock() => Free();

    /// <summary>Bytes asked for.</summary>
    public long ByteCount { get; }

    /// <summary>First byte; valid until disposed.</summary>
    public byte* Pointer => _pointer is not null ? _pointer : throw new ObjectDisposedException(nameof(NativeBlock));

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Map(long byteCount, string label, bool hugePages)
    {
        // Room to start at a multiple of 2 MB: the system aligns mappings to 4 KB only.
        nuint bytes = checked((nuint)byteCount + (nuint)HugePageBytes);
        void* mapping = LinuxMemory.Map(bytes);
        if (mapping is null)
        {
            throw new InsufficientMemoryException($"mmap of '{label}' failed");
        }

        _mapping = mapping;
        _mappedBytes = bytes;
        _pointer = (byte*)(((nuint)mapping + (nuint)HugePageBytes - 1) & ~((nuint)HugePageBytes - 1));
        LinuxMemory.AdviseHugePages(_pointer, (nuint)byteCount, hugePages);
    }

    private void Free()
    {
        if (_file is not null)
        {
            _file.Dispose();
            _file = null;
        }
        else if (_mapping is not null)
        {
            LinuxMemory.Unmap(_mapping, _mappedBytes);
            _mapping = null;
        }
        else if (_pointer is not null)
        {
            NativeMemory.AlignedFree(_pointer);
        }

        _pointer = null;
    }
}
