using System.Runtime.InteropServices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Devices;

/// <summary>Work that the device does in order.</summary>
internal sealed class CudaStream : SafeHandle
{
    public CudaStream()
        : base(0, ownsHandle: true)
    {
        CudaDriver.Check(CudaDriver.CreateStream(out nint stream, CudaDriver.NonBlockingStream), "cuStreamCreate");
        SetHandle(stream);
    }

    public nint Pointer => handle;

    public override bool IsInvalid => handle == 0;

    /// <summary>Waits until all work is done.</summary>
    public void Synchronize() => CudaDriver.Check(CudaDriver.SynchronizeStream(handle), "cuStreamSynchronize");

    /// <summary>Waits before what the stream uses is freed; on a device that is lost there is nothing to wait for.</summary>
    public void Finish() => _ = CudaDriver.SynchronizeStream(handle);

    /// <summary>Makes later work of this stream wait for an event of another.</summary>
    public void WaitFor(CudaEvent cudaEvent) => CudaDriver.Check(CudaDriver.WaitForEvent(handle, cudaEvent.Pointer, 0), "cuStreamWaitEvent");

    /// <summary>Records what an action launches here, without doing it.</summary>
    public CudaGraph Capture(Action launch)
    {
        CudaDriver.Check(CudaDriver.BeginCapture(handle, CudaDriver.ThreadLocalCapture), "cuStreamBeginCapture");
        nint graph = 0;
        int ended;
        try
        {
            launch();
        }
        finally
        {
            // A capture must be ended even when a launch failed, or the stream is of no use any more.
            ended = CudaDriver.EndCapture(handle, out graph);
        }

        CudaDriver.Check(ended, "cuStreamEndCapture");
        return new CudaGraph(graph);
    }

    protected override bool ReleaseHandle() => CudaDriver.DestroyStream(handle) == 0;
}
