using System.Runtime.InteropServices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Memory;

/// <summary>Host memory that the device copies from and to by itself.</summary>
internal sealed unsafe class PinnedBuffer : SafeHandle
{
    public PinnedBuffer(long byteCount)
        : base(0, ownsHandle: true)
    {
        ByteCount = byteCount;
        CudaDriver.Check(CudaDriver.AllocatePinned(out nint address, (nuint)byteCount, 0), $"cuMemHostAlloc of {byteCount} bytes");
        SetHandle(address);
    }

    public long ByteCount { get; }

    public byte* Pointer => (byte*)handle;

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle() => CudaDriver.FreePinned(handle) == 0;
}
