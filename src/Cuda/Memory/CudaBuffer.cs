using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Memory;

/// <summary>Memory of the device.</summary>
internal sealed class CudaBuffer : DeviceBuffer
{
    private readonly CudaDevice _device;
    private readonly RetiredMemory? _retired;
    private readonly bool _isBorrowed;
    private ulong _address;

    /// <param name="device">Where.</param>
    /// <param name="byteCount">Size.</param>
    /// <param name="label">What it is for.</param>
    /// <param name="retired">Takes the memory in the end, where launches that name it may not have gone out yet; null to free it at once.</param>
    /// <exception cref="DeviceMemoryException">The device has too little free memory.</exception>
    public CudaBuffer(CudaDevice device, long byteCount, string label, RetiredMemory? retired = null)
        : base(byteCount, label)
    {
        _device = device;
        _retired = retired;
        device.MakeCurrent();
        int result = CudaDriver.Allocate(out _address, (nuint)Math.Max(byteCount, 1));
        if (result == CudaDriver.OutOfMemory)
        {
            GC.SuppressFinalize(this);
            (long free, long total) = device.Memory;
            throw new DeviceMemoryException($"{byteCount} bytes for '{label}' are more than the {free} of {total} bytes free on {device.Name}");
        }

        CudaDriver.Check(result, $"cuMemAlloc of {byteCount} bytes for '{label}'");
    }

    /// <summary>Memory inside an allocation that somebody else owns and frees.</summary>
    public CudaBuffer(CudaDevice device, ulong address, long byteCount, string label)
        : base(byteCount, label)
    {
        _device = device;
        _address = address;
        _isBorrowed = true;
        GC.SuppressFinalize(this);
    }

    ~CudaBuffer() => Dispose(false);

    /// <summary>Address on the device.</summary>
    public ulong Address => _address;

    /// <summary>The CUDA form of a buffer.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CudaBuffer Of(DeviceBuffer buffer) =>
        buffer as CudaBuffer ?? throw new ArgumentException($"buffer '{buffer.Label}' belongs to another backend");

    /// <summary>Address of a view's first element.</summary>
    public static ulong AddressOf(TensorView view) => Of(view.Buffer)._address + ((ulong)view.Offset * sizeof(float));

    protected override void Dispose(bool disposing)
    {
        ulong address = Interlocked.Exchange(ref _address, 0);
        if (address == 0 || _isBorrowed || _device.Context == 0)
        {
            // Somebody else frees it, or without the context it is gone already.
            return;
        }

        if (_retired is not null)
        {
            _retired.Add(address);
        }
        else if (CudaDriver.SetCurrentContext(_device.Context) == 0)
        {
            _ = CudaDriver.Free(address);
        }
    }
}
