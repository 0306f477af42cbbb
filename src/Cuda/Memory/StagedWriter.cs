using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Memory;

/// <summary>
/// Writes device memory in many places by way of pinned memory, on a stream of its own: the host fills one half while the device copies
/// from the other, and neighbours travel in one copy. Steps that run meanwhile are neither waited for nor held up. One thread at a time.
/// </summary>
internal sealed unsafe class StagedWriter : IDisposable
{
    /// <summary>Bytes that are best asked for at once.</summary>
    public const long HalfBytes = 4 << 20;

    private readonly CudaStream _stream = new();
    private readonly CudaEvent[] _copied = [new(), new()];
    private readonly PinnedBuffer[] _halves = [new(HalfBytes), new(HalfBytes)];
    private readonly bool[] _isBusy = new bool[2];
    private int _half;
    private long _filled;
    private long _pendingStart;
    private ulong _pendingTarget;

    /// <summary>Host memory to fill with what <paramref name="target"/> is to hold; filled before the next call.</summary>
    /// <param name="target">Where it goes on the device.</param>
    /// <param name="byteCount">How much; more than <see cref="HalfBytes"/> takes more pinned memory from here on.</param>
    public byte* Reserve(ulong target, long byteCount)
    {
        if (_filled + byteCount > _halves[_half].ByteCount)
        {
            Switch();
        }

        if (byteCount > _halves[_half].ByteCount)
        {
            _halves[_half].Dispose();
            _halves[_half] = new PinnedBuffer(byteCount);
        }

        if (_filled == _pendingStart || target != _pendingTarget + (ulong)(_filled - _pendingStart))
        {
            CopyPending();
            _pendingTarget = target;
        }

        byte* place = _halves[_half].Pointer + _filled;
        _filled += byteCount;
        return place;
    }

    /// <summary>Waits until everything is on the device.</summary>
    public void Complete()
    {
        Switch();
        _stream.Synchronize();
        Array.Clear(_isBusy);
    }

    /// <summary>Forgets what was not copied yet, after an error.</summary>
    public void Abandon()
    {
        _filled = 0;
        _pendingStart = 0;
        _stream.Synchronize();
        Array.Clear(_isBusy);
    }

    public void Dispose()
    {
        _stream.Dispose();
        for (int i = 0; i < _halves.Length; i++)
        {
            _copied[i].Dispose();
            _halves[i].Dispose();
        }
    }

    private void CopyPending()
    {
        if (_filled > _pendingStart)
        {
            CudaDriver.Check(
                CudaDriver.CopyToDevice(_pendingTarget, _halves[_half].Pointer + _pendingStart, (nuint)(_filled - _pendingStart), _stream.Pointer),
                "copy of an adapter to the device");
            _pendingStart = _filled;
        }
    }

    private void Switch()
    {
        CopyPending();
        _copied[_half].Record(_stream);
        _isBusy[_half] = true;
        _half ^= 1;
        _filled = 0;
        _pendingStart = 0;
        if (_isBusy[_half])
        {
            _copied[_half].Synchronize();
            _isBusy[_half] = false;
        }
    }
}
