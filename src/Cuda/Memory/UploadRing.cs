using System.Runtime.InteropServices;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Memory;

/// <summary>
/// Small tables that the launches after them read: copied through pinned memory without waiting. The ring has two halves; a half is filled
/// again when its copies are done, which is long after in practice.
/// </summary>
internal sealed unsafe class UploadRing : IDisposable
{
    private const long Alignment = 16;

    private readonly CudaDevice _device;
    private readonly CudaEvent[] _copied = [new(), new()];
    private PinnedBuffer _staging;
    private CudaBuffer _target;
    private long _halfBytes;
    private long _used;
    private int _half;

    public UploadRing(CudaDevice device)
    {
        _device = device;
        _halfBytes = 1 << 18;
        _staging = new PinnedBuffer(2 * _halfBytes);
        _target = new CudaBuffer(device, 2 * _halfBytes, "small tables");
    }

    /// <summary>Copies numbers behind all work of the stream.</summary>
    /// <returns>
    /// Their address, a multiple of 16; good for what the stream is given before another half's worth of tables, at least for the next launch.
    /// </returns>
    public ulong Put(ReadOnlySpan<int> values, CudaStream stream)
    {
        long bytes = ((values.Length * sizeof(int)) + Alignment - 1) & -Alignment;
        if (bytes > _halfBytes)
        {
            Grow(bytes, stream);
        }

        if (_used + bytes > _halfBytes)
        {
            _copied[_half].Record(stream);
            _half ^= 1;
            _used = 0;
            _copied[_half].Synchronize();
        }

        long at = (_half * _halfBytes) + _used;
        _used += bytes;
        MemoryMarshal.AsBytes(values).CopyTo(new Span<byte>(_staging.Pointer + at, values.Length * sizeof(int)));
        CudaDriver.Check(
            CudaDriver.CopyToDevice(_target.Address + (ulong)at, _staging.Pointer + at, (nuint)values.Length * sizeof(int), stream.Pointer),
            "copy of a table");
        return _target.Address + (ulong)at;
    }

    public void Dispose()
    {
        _target.Dispose();
        _staging.Dispose();
        foreach (CudaEvent copied in _copied)
        {
            copied.Dispose();
        }
    }

    private void Grow(long bytes, CudaStream stream)
    {
        stream.Synchronize();
        _target.Dispose();
        _staging.Dispose();
        _halfBytes = 2 * bytes;
        _used = 0;
        _staging = new PinnedBuffer(2 * _halfBytes);
        _target = new CudaBuffer(_device, 2 * _halfBytes, "small tables");
    }
}
