using System.Runtime.InteropServices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Devices;

/// <summary>A point in a stream's work.</summary>
internal sealed class CudaEvent : SafeHandle
{
    /// <param name="isTimed">Whether it takes the time, for <see cref="MillisecondsSince"/>.</param>
    public CudaEvent(bool isTimed = false)
        : base(0, ownsHandle: true)
    {
        CudaDriver.Check(CudaDriver.CreateEvent(out nint created, isTimed ? 0 : CudaDriver.EventWithoutTiming), "cuEventCreate");
        SetHandle(created);
    }

    public nint Pointer => handle;

    public override bool IsInvalid => handle == 0;

    /// <summary>Puts the event behind all work that the stream has so far.</summary>
    public void Record(CudaStream stream) => CudaDriver.Check(CudaDriver.RecordEvent(handle, stream.Pointer), "cuEventRecord");

    /// <summary>Waits until the stream has come to the event.</summary>
    public void Synchronize() => CudaDriver.Check(CudaDriver.SynchronizeEvent(handle), "cuEventSynchronize");

    public float MillisecondsSince(CudaEvent start)
    {
        CudaDriver.Check(CudaDriver.GetElapsedTime(out float milliseconds, start.handle, handle), "cuEventElapsedTime");
        return milliseconds;
    }

    protected override bool ReleaseHandle() => CudaDriver.DestroyEvent(handle) == 0;
}
