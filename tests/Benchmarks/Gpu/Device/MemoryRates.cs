using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;

namespace InferenceServer.Benchmarks.Gpu.Device;

/// <summary>Bytes per second that the device's memory gives, far beyond its caches.</summary>
internal static class MemoryRates
{
    private const long MaxBytes = 4L << 30;
    private const int Slices = 20;
    private const int Threads = 256;

    /// <summary>A copy from one buffer to another; counts bytes read and written.</summary>
    public static double Copy(CudaDevice device)
    {
        long bytes = Size(device);
        using CudaBuffer source = Noise.Filled(device, bytes);
        using CudaBuffer target = new(device, bytes, "copy");
        using CudaStream stream = new();
        using DeviceTimer timer = new();
        return 2 * bytes / Best(timer, stream, () => CudaDriver.Check(
            CudaDriver.CopyOnDevice(target.Address, source.Address, (nuint)bytes, stream.Pointer), "cuMemcpyDtoD"));
    }

    /// <summary>A kernel that only reads.</summary>
    public static double Read(CudaDevice device)
    {
        long bytes = Size(device);
        using CudaBuffer source = Noise.Filled(device, bytes);
        using CudaBuffer sink = new(device, 256, "sink");
        using KernelModule module = new("read_bandwidth.cu", SourceCompiler.Compile(device, "read_bandwidth.cu"));
        KernelFunction kernel = module.Function("read_all", Threads);
        using KernelQueue queue = new();
        using DeviceTimer timer = new();
        return bytes / Best(timer, queue.Stream(), () => queue.Launch(
            kernel, new Grid(device.Multiprocessors * 8), source.Address, (ulong)(bytes / 16), sink.Address));
    }

    private static long Size(CudaDevice device) => Math.Min(MaxBytes, device.Memory.Free / 4) & ~0xFFFFFL;

    private static double Best(DeviceTimer timer, CudaStream stream, Action launch)
    {
        launch();
        return Enumerable.Range(0, Slices).Min(_ => timer.Seconds(stream, launch));
    }
}
