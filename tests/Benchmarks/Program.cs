using InferenceServer.Benchmarks.Kernels;

namespace InferenceServer.Benchmarks;

/// <summary>The first argument names the benchmark, the others are its own.</summary>
internal static class Program
{
    private static int Main(string[] arguments)
    {
        switch (arguments.FirstOrDefault())
        {
            case "kernels":
                KernelBenchmark.Run(arguments[1..]);
                return 0;
            default:
                Console.Error.WriteLine("usage: Benchmarks kernels [--rounds N] [--output FILE]");
                return 2;
        }
    }
}
