using InferenceServer.Benchmarks.Beside;
using InferenceServer.Benchmarks.Gpu;
using InferenceServer.Benchmarks.Gpu.Conformance;
using InferenceServer.Benchmarks.Kernels;
using InferenceServer.Benchmarks.Load;
using InferenceServer.Benchmarks.Peers;
using InferenceServer.Benchmarks.Start;
using InferenceServer.Benchmarks.Step;
using InferenceServer.Benchmarks.Training;

namespace InferenceServer.Benchmarks;

/// <summary>The first argument names the benchmark, the others are its own.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        try
        {
            return await RunAsync(arguments);
        }
        catch (Exception error) when (error is ArgumentException or IOException)
        {
            // A wrong option, or something that is not there: the message says all.
            Console.Error.WriteLine(error.Message);
            return 1;
        }
    }

    private static async Task<int> RunAsync(string[] arguments)
    {
        switch (arguments.FirstOrDefault())
        {
            case "kernels":
                KernelBenchmark.Run(arguments[1..]);
                return 0;
            case "step":
                StepBenchmark.Run(arguments[1..]);
                return 0;
            case "load":
                await LoadBenchmark.RunAsync(arguments[1..]);
                return 0;
            case "peers":
                await PeersBenchmark.RunAsync(arguments[1..]);
                return 0;
            case "training":
                TrainingBenchmark.Run(arguments[1..]);
                return 0;
            case "training-worker":
                TrainingWorker.Run(arguments[1..]);
                return 0;
            case "beside":
                await BesideBenchmark.RunAsync(arguments[1..]);
                return 0;
            case "start":
                await StartBenchmark.RunAsync(arguments[1..]);
                return 0;
            case "gpu":
                return await GpuBenchmark.RunAsync(arguments[1..]);
            case GpuBenchmark.StageCommand:
                return await GpuBenchmark.RunStageAsync(arguments[1..]);
            case ConformanceRunner.Command:
                return ConformanceRunner.Run(arguments[1..]);
            default:
                Console.Error.WriteLine("usage: Benchmarks kernels [--rounds N] [--output FILE]");
                Console.Error.WriteLine($"       Benchmarks step {StepBenchmark.Usage}");
                Console.Error.WriteLine($"       Benchmarks load {LoadOptions.Usage}");
                Console.Error.WriteLine($"       Benchmarks peers {PeersOptions.Usage}");
                Console.Error.WriteLine($"       Benchmarks training {TrainingBenchmarkOptions.Usage}");
                Console.Error.WriteLine($"       Benchmarks beside {BesideBenchmark.Usage}");
                Console.Error.WriteLine($"       Benchmarks start {StartBenchmark.Usage}");
                Console.Error.WriteLine($"       Benchmarks gpu {GpuOptions.Usage}");
                return 2;
        }
    }
}
