using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Benchmarks.Gpu.Device;

/// <summary>What the device is, and what it does at most: the ceilings that all other stages are measured against.</summary>
internal static partial class DeviceStage
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
        run.Try(Subject, () => CompileKernels(run, device));
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

    /// <summary>The backend's kernels by this machine's compiler, which nobody may have tried on them.</summary>
    private static void CompileKernels(StageRun run, CudaDevice device)
    {
        long start = Stopwatch.GetTimestamp();
        KernelCompiler compiler = new(device.ComputeCapability);
        string[] logs = [.. KernelSources.Kernels.Keys.AsParallel().Select(file => compiler.Compile(file, verbose: true).Log)];
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        string[] kernels = [.. logs.SelectMany(log => Kernel().Matches(log)).Select(match => $"{match.Groups["name"].Value} {match.Groups["bytes"].Value} B")];
        string[] spilling = [.. kernels.Where(kernel => !kernel.EndsWith(" 0 B", StringComparison.Ordinal))];
        run.Record(Subject, "kernels that spill registers", spilling.Length, "kernels", kernels.Length, string.Join(", ", spilling));
        run.Record(Subject, "compiling all kernels", seconds, "s", note: compiler.Description);
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

    // As ptxas says it with -v.
    [GeneratedRegex("Compiling entry function '(?<name>\\w+)'(?:(?!Compiling entry).)*?(?<bytes>\\d+) bytes spill stores", RegexOptions.Singleline)]
    private static partial Regex Kernel();
}
