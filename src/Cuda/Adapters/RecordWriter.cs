using System.Runtime.InteropServices;

namespace InferenceServer.Cuda.Adapters;

/// <summary>Puts an adapter's records and the small tables behind them into one block; knows the address that each will have.</summary>
internal sealed class RecordWriter
{
    private const int Alignment = 16;

    private readonly byte[] _bytes;
    private readonly ulong _address;
    private int _used;

    /// <param name="byteCount">Enough for all, each rounded up by <see cref="SizeOf"/>.</param>
    /// <param name="address">Where the block will lie, a multiple of 16.</param>
    public RecordWriter(long byteCount, ulong address)
    {
        _bytes = new byte[byteCount];
        _address = address;
    }

    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>Bytes that so many values take in the block.</summary>
    public static long SizeOf<T>(int count)
        where T : unmanaged => (((long)count * Marshal.SizeOf<T>()) + Alignment - 1) & -Alignment;

    /// <summary>Keeps room for values that are filled in later.</summary>
    public Span<T> Reserve<T>(int count, out ulong address)
        where T : unmanaged
    {
        long size = SizeOf<T>(count);
        Span<byte> place = _bytes.AsSpan(_used, (int)size);
        address = count == 0 ? 0 : _address + (ulong)_used;
        _used += (int)size;
        return MemoryMarshal.Cast<byte, T>(place)[..count];
    }

    /// <summary>Appends values.</summary>
    /// <returns>Their address; 0 for none.</returns>
    public ulong Put<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        values.CopyTo(Reserve<T>(values.Length, out ulong address));
        return address;
    }
}
