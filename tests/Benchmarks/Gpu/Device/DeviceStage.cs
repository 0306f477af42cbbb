using System.Globalization;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Benchmarks.Gpu.Device;

/// <summary>What the device is, and what it does at most: the ceilings that all other stages are measured against.</summary>
internal static class DeviceStage
{
    public const string Subject = "device";

    public const string Copy = "copy on the device, read and written";

    public const string Read = "reading alone";

    public const string Gemm = "bf16 product, cuBLASLt, largest";

    public static async Task RunAsync(StageRun run)
    {
        run.Record(Subject, "processor", Environment.ProcessorCount, "cores", note: Machine.CpuModel());
        if (!run.Options.IsCuda)
        {
            run.Skip(Subject, Copy, "--device cpu");
            return;
        }

        using CudaDevice device = Open(run.Options);
        (long free, long total) = device.Memory;
        string driver = CudaDriver.GetVersion(out int version) == 0 ? string.Create(CultureInfo.InvariantCulture, $"CUDA {version / 1000}.{version % 1000 / 10}") : "unknown";
        run.Record(Subject, "name", double.NaN, "", note: $"{device.Name}, driver for {driver}, compiler {Compiler()}, cuBLASLt {CublasLtLibrary.GetVersion()}");
        run.Record(Subject, "multiprocessors", device.Multiprocessors, "", note: string.Create(CultureInfo.InvariantCulture, $"compute capability {device.ComputeCapability / 10}.{device.ComputeCapability % 10}"));
        run.Record(Subject, "memory", total / 1e9, "GB", note: string.Create(CultureInfo.InvariantCulture, $"{free / 1e9:F1} GB free"));
        run.Try(Subject, () => run.Record(Subject, Copy, MemoryRates.Copy(device) / 1e9, "GB/s", note: "bytes read plus bytes written, best of 20"));
        run.Try(Subject, () => run.Record(Subject, Read, MemoryRates.Read(device) / 1e9, "GB/s", note: "a kernel that loads 16 bytes a thread, best of 20"));
        run.Try(Subject, () => MeasureGemm(run, device));
        await Task.CompletedTask;
    }

    /// <summary>The first device.</summary>
    /// <exception cref="InvalidOperationException">CUDA cannot be used.</exception>
    public static CudaDevice Open(GpuOptions options)
    {
        NativeLibraries.SearchFirst(options.CudaLibraries);
        return CudaDevice.TryOpen(0, out CudaDevice? device, out string reason) ? device : throw new InvalidOperationException($"no CUDA here: {reason}");
    }

    private static void MeasureGemm(StageRun run, CudaDevice device)
    {
        (int M, int N, int K)[] sizes = [(8192, 8192, 8192), (2048, 28_672, 4096), (2048, 4096, 14_336), (512, 28_672, 4096)];
        double best = 0;
        foreach ((int m, int n, int k) in sizes)
        {
            double rate = GemmRate.Measure(device, m, n, k) / 1e12;
            run.Record(Subject, string.Create(CultureInfo.InvariantCulture, $"bf16 product {m} x {n} x {k}"), rate, "TFLOP/s", note: "cuBLASLt, random numbers, median of 10");
            best = Math.Max(best, rate);
        }

        run.Record(Subject, Gemm, best, "TFLOP/s");
    }

    private static string Compiler() =>
        NvrtcLibrary.GetVersion(out int major, out int minor) == 0 ? string.Create(CultureInfo.InvariantCulture, $"NVRTC {major}.{minor}") : "unknown";
}
