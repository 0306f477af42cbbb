using System.Diagnostics;
using System.Globalization;
using InferenceServer.Benchmarks.Gpu.Results;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Tensors;

namespace InferenceServer.Benchmarks.Gpu;

/// <summary>
/// Everything that needs a GPU, in one command for a machine that has one and little else: correctness, then speed beside what the device can do
/// at most, then tenants, then a peer. Each stage is a process of its own with a budget of time; results are on the disk as soon as they are
/// known, and the report is written anew after each stage.
/// </summary>
internal static class GpuBenchmark
{
    /// <summary>The command of a stage's own process.</summary>
    public const string StageCommand = "gpu-stage";

    /// <summary>Exit code where CUDA cannot be used.</summary>
    public const int NoCuda = 3;

    private const int StageFailed = 4;
    private const int DeviceLost = 5;

    // What a stage may take beyond its budget before it is ended: the slice under way, and files to remove.
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(20);

    public static async Task<int> RunAsync(string[] arguments)
    {
        GpuOptions options = GpuOptions.Parse(arguments);
        GpuResults results = new(options.Output);
        if (options.ReportOnly)
        {
            Console.Write(results.WriteReport());
            return 0;
        }

        if (options.IsCuda && WhyNoCuda(options) is { } reason)
        {
            Console.Error.WriteLine($"gpu: no CUDA here: {reason}");
            Console.Error.WriteLine("The benchmark needs a machine with an NVIDIA driver, NVRTC and cuBLASLt (those of a PyTorch installation will do);");
            Console.Error.WriteLine("--cuda-libraries or CUDA_LIBRARY_PATH names their folders. --device cpu --shapes tiny --tenants tiny tries the benchmark itself.");
            return NoCuda;
        }

        try
        {
            foreach (GpuStage stage in options.Stages)
            {
                await RunStageAsync(stage, options, results, arguments);
                results.WriteReport();
                Remove(options.FolderOf(stage));
            }
        }
        finally
        {
            Remove(options.Work);
        }

        Console.Write(results.WriteReport());
        return 0;
    }

    /// <summary>A stage within its own process.</summary>
    public static async Task<int> RunStageAsync(string[] arguments)
    {
        GpuStage stage = GpuStage.Named(arguments[0]);
        GpuOptions options = GpuOptions.Parse(arguments[1..]);
        StageRun run = new(stage, options, new GpuResults(options.Output));
        try
        {
            await stage.RunAsync(run);
            return 0;
        }
        catch (DeviceLostException error)
        {
            run.Failed("the device", error);
            return DeviceLost;
        }
        catch (Exception error)
        {
            run.Failed("the stage", error);
            Console.Error.WriteLine(error);
            return StageFailed;
        }
    }

    private static async Task RunStageAsync(GpuStage stage, GpuOptions options, GpuResults results, string[] arguments)
    {
        TimeSpan limit = options.BudgetOf(stage) + s_grace;
        Console.WriteLine($"== {stage.Name}, {options.BudgetOf(stage).TotalSeconds:F0} s");
        StageRun record = new(stage, options, results);
        record.Begin();
        using StreamWriter log = new(Path.Combine(options.Output, $"{stage.Name}.log")) { AutoFlush = true };
        long start = Stopwatch.GetTimestamp();
        int? code = await SelfProcess.RunAsync(
            [StageCommand, stage.Name, "--work", Path.GetDirectoryName(options.Work)!, .. arguments],
            new Dictionary<string, string>(),
            line =>
            {
                Console.WriteLine(line);
                log.WriteLine(line);
            },
            () => Stopwatch.GetElapsedTime(start) > limit);
        string seconds = string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetElapsedTime(start).TotalSeconds:F0} s");
        record.Record(stage.Name, "time", Stopwatch.GetElapsedTime(start).TotalSeconds, "s", note: code switch
        {
            null => $"ended after {seconds}: beyond its budget; what it had measured until then is kept",
            0 => "",
            StageFailed or DeviceLost => "failed, see its results",
            _ => $"its process ended with {code}; see {stage.Name}.log",
        });
    }

    // A stage that was ended has left what it had made.
    private static void Remove(string folder)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string? WhyNoCuda(GpuOptions options)
    {
        NativeLibraries.SearchFirst(options.CudaLibraries);
        if (!CudaDevice.TryOpen(0, out CudaDevice? device, out string reason))
        {
            return reason;
        }

        device.Dispose();
        return null;
    }
}
