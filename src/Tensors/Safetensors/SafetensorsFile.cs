using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Interop;

namespace InferenceServer.Tensors.Safetensors;

/// <summary>A safetensors file, memory-mapped or read whole: header checked on opening, data read when asked for. Safe for many readers at once.</summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private const int IdentitySamples = 64;
    private const int IdentitySampleBytes = 4096;

    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _base;
    private readonly long _length;
    private int _disposed;

    private SafetensorsFile(string path, SafetensorsHeader header, StoredBytes memory)
    {
        FilePath = path;
        Header = header;
        Memory = memory;
        _length = memory.ByteCount;
        _base = memory.Pointer;
    }

    private SafetensorsFile(string path, SafetensorsHeader header, MemoryMappedFile? map, long length)
    {
        FilePath = path;
        Header = header;
        _length = length;
        _map = map;
        if (map is not null)
        {
            _view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            byte* pointer = null;
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
            _base = pointer + _view.PointerOffset;
        }
    }

    public string FilePath { get; }

    /// <summary>File name for messages.</summary>
    public string Name => Path.GetFileName(FilePath);

    /// <summary>Length of the file.</summary>
    public long ByteCount => _length;

    public SafetensorsHeader Header { get; }

    /// <summary>The whole file, when it was read and not mapped; it belongs to whoever read it.</summary>
    public StoredBytes? Memory { get; }

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, SafetensorsEntry> Entries => Header.Entries;

    /// <summary>Opens and checks a file.</summary>
    /// <exception cref="SafetensorsFormatException">The file breaks the format.</exception>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    public static SafetensorsFile Open(string path)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        long length = stream.Length;
        SafetensorsHeader header = SafetensorsHeader.Read(stream, length, Path.GetFileName(path));
        stream.Position = 0;
        MemoryMappedFile map = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        return new SafetensorsFile(path, header, map, length);
    }

    /// <summary>Checks a file that was read whole.</summary>
    /// <param name="path">Where it came from.</param>
    /// <param name="memory">Its bytes, which must outlive this.</param>
    /// <exception cref="SafetensorsFormatException">The file breaks the format.</exception>
    public static SafetensorsFile Over(string path, StoredBytes memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        using UnmanagedMemoryStream stream = new(memory.Pointer, memory.ByteCount);
        return new SafetensorsFile(path, SafetensorsHeader.Read(stream, memory.ByteCount, Path.GetFileName(path)), memory);
    }

    /// <summary>The tensor of this name.</summary>
    /// <exception cref="SafetensorsFormatException">There is none.</exception>
    public SafetensorsEntry Find(string name) =>
        Entries.TryGetValue(name, out SafetensorsEntry? entry) ? entry : throw new SafetensorsFormatException(Name, $"tensor '{name}' is missing");

    /// <summary>The raw bytes of a tensor part; valid until the file is disposed.</summary>
    /// <param name="entry">A tensor of this file.</param>
    /// <param name="start">First byte, within the tensor.</param>
    /// <param name="count">Number of bytes.</param>
    public ReadOnlySpan<byte> Bytes(SafetensorsEntry entry, long start, int count)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start + count, entry.ByteCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(entry.Offset + entry.ByteCount, _length);

        // The header check put every entry inside the mapped length.
        return new ReadOnlySpan<byte>(_base + entry.Offset + start, count);
    }

    /// <summary>Converts elements of a float tensor (F32, F16, BF16) to f32.</summary>
    /// <param name="entry">A tensor of this file.</param>
    /// <param name="firstElement">First element, in row-major order.</param>
    /// <param name="destination">Receives <c>destination.Length</c> elements.</param>
    public void ReadSingles(SafetensorsEntry entry, long firstElement, Span<float> destination)
    {
        int size = entry.Type.ByteSize();
        if (!entry.Type.IsWeight())
        {
            throw new SafetensorsFormatException(Name, $"tensor '{entry.Name}' is {entry.Type}, not F32, F16 or BF16");
        }

        // Span lengths are ints, so go through large tensors in parts.
        const int Part = 1 << 20;
        for (int done = 0; done < destination.Length; done += Part)
        {
            Span<float> target = destination.Slice(done, Math.Min(Part, destination.Length - done));
            FloatConversion.ToSingle(entry.Type, Bytes(entry, (firstElement + done) * size, target.Length * size), target);
        }
    }

    /// <summary>A whole float tensor as f32.</summary>
    public float[] ReadSingles(SafetensorsEntry entry)
    {
        if (entry.ElementCount > Array.MaxLength)
        {
            throw new SafetensorsFormatException(Name, $"tensor '{entry.Name}' has {entry.ElementCount} elements, more than one array holds");
        }

        // Every element is written below.
        float[] values = GC.AllocateUninitializedArray<float>((int)entry.ElementCount);
        ReadSingles(entry, 0, values);
        return values;
    }

    /// <summary>A whole I64 tensor.</summary>
    public long[] ReadInt64s(SafetensorsEntry entry)
    {
        if (entry.Type != DType.I64)
        {
            throw new SafetensorsFormatException(Name, $"tensor '{entry.Name}' is {entry.Type}, not I64");
        }

        return MemoryMarshal.Cast<byte, long>(Bytes(entry, 0, checked((int)entry.ByteCount))).ToArray();
    }

    /// <summary>
    /// Adds to a hash what tells this file from others without reading all of it: its length, its header (which names every tensor with
    /// its place) and samples of its data, spread evenly.
    /// </summary>
    public void AppendIdentity(IncrementalHash hash)
    {
        ArgumentNullException.ThrowIfNull(hash);
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        Span<byte> length = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(length, _length);
        hash.AppendData(length);
        if (_base is null)
        {
            return;
        }

        // The header check put the start of the data inside the mapped length, and every sample starts before the last byte of it.
        hash.AppendData(new ReadOnlySpan<byte>(_base, (int)Header.DataStart));
        long data = _length - Header.DataStart;
        for (int i = 0; i < IdentitySamples; i++)
        {
            long start = (long)((Int128)data * i / IdentitySamples);
            hash.AppendData(new ReadOnlySpan<byte>(_base + Header.DataStart + start, (int)Math.Min(IdentitySampleBytes, data - start)));
        }
    }

    /// <summary>
    /// Gives the pages of a tensor back, so that what was read does not count as this process's memory; reading it again brings them back.
    /// </summary>
    public void Release(SafetensorsEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(entry.Offset + entry.ByteCount, _length);
        if (OperatingSystem.IsLinux() && _map is not null)
        {
            LinuxMapping.Release(_base + entry.Offset, (nuint)entry.ByteCount);
        }
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _view?.SafeMemoryMappedViewHandle.ReleasePointer();
            _view?.Dispose();
            _map?.Dispose();
        }
    }
}
