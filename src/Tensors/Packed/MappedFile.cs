using System.Globalization;
using System.IO.MemoryMappedFiles;
using InferenceServer.Tensors.Interop;

namespace InferenceServer.Tensors.Packed;

/// <summary>A whole file in this process's address space, read-only. It goes when the last part of it has been given back.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile _map;
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _base;

    public MappedFile(FileStream stream)
    {
        ByteCount = stream.Length;
        _map = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        _view = _map.CreateViewAccessor(0, ByteCount, MemoryMappedFileAccess.Read);
        byte* pointer = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _base = pointer + _view.PointerOffset;
    }

    public long ByteCount { get; }

    /// <summary>Asks for pages of 2 MB where the page cache holds the file in such.</summary>
    public void AdviseHugePages() => LinuxMapping.AdviseHugePages(_base, (nuint)ByteCount);

    /// <summary>Brings a range into memory; false where the system cannot do that without the risk of a signal.</summary>
    public bool TryPopulate(long start, long count)
    {
        // Populated by whole pages: down to the start of the first.
        long first = start / Environment.SystemPageSize * Environment.SystemPageSize;
        return LinuxMapping.TryPopulate(_base + first, (nuint)(start + count - first));
    }

    /// <summary>A range that is known to be in the file.</summary>
    public ReadOnlySpan<byte> Bytes(long start, int count) => new(_base + start, count);

    /// <summary>Takes a part; the file stays mapped until it is disposed of, also when this object is gone.</summary>
    public MappedBytes Take(long start, long count) => new(_view.SafeMemoryMappedViewHandle, _base + start, count);

    /// <summary>Bytes that this process sees in pages of 2 MB, as the kernel says in /proc/self/smaps.</summary>
    public long CountHugeBytes()
    {
        const string Field = "FilePmdMapped:";
        ulong first = (ulong)_base;
        ulong end = first + (ulong)ByteCount;
        long kilobytes = 0;
        bool isInside = false;
        foreach (string line in File.ReadLines("/proc/self/smaps"))
        {
            int dash = line.IndexOf('-', StringComparison.Ordinal);
            int blank = line.IndexOf(' ', StringComparison.Ordinal);
            if (dash > 0 && blank > dash
                && ulong.TryParse(line.AsSpan(0, dash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong start)
                && ulong.TryParse(line.AsSpan(dash + 1, blank - dash - 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out _))
            {
                isInside = start >= first && start < end;
            }
            else if (isInside && line.StartsWith(Field, StringComparison.Ordinal))
            {
                kilobytes += long.Parse(line.AsSpan(Field.Length).Trim().TrimEnd("kB").Trim(), NumberStyles.None, CultureInfo.InvariantCulture);
            }
        }

        return kilobytes << 10;
    }

    public void Dispose()
    {
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _map.Dispose();
    }
}
