using InferenceServer.Cuda.Adapters;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Memory;

namespace InferenceServer.Cuda;

/// <summary>
/// What all backends on one device share: its kernels, the copies from and to the host, and whatever weights and adapters refer to. A backend
/// adds a stream and the tables of its steps.
/// </summary>
internal sealed class CudaMachine : IDisposable
{
    public CudaMachine(CudaDevice device, CudaOptions options)
    {
        Device = device;
        Options = options;
        Library = new KernelLibrary(device, options.KernelCache);
        Copies = new HostCopies(device);
        Adapters = new AdapterLoader(device, options.AdapterMemoryBytes);
    }

    public CudaDevice Device { get; }

    public CudaOptions Options { get; }

    public KernelLibrary Library { get; }

    public HostCopies Copies { get; }

    public AdapterLoader Adapters { get; }

    public void Dispose()
    {
        _ = CudaDriver.SetCurrentContext(Device.Context);
        Adapters.Dispose();
        Copies.Dispose();
        Library.Dispose();
        Device.Dispose();
    }
}
