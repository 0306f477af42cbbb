using System.Globalization;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Cpu;
using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Benchmarks.Gpu.Kernels;

/// <summary>Products, attention and adapters of the largest shape, one by one, beside what the device's memory and matrix units allow.</summary>
internal static class KernelStage
{
    private const int CallsOfDecode = 24;
    private const int CallsOfPrefill = 4;
    private const int Steps = 12;

    public static async Task RunAsync(StageRun run)
    {
        ModelDimensions shape = run.Options.Shapes.MaxBy(one => one.MultipliedParameters)!;
        Ceilings ceilings = Ceilings.Read(run.Results);
        using IComputeBackend backend = Create(run.Options);
        using KernelTimer timer = new(backend);
        Measure(() => new ProductCases(backend, shape), cases => cases.Cases, 0.45);
        Measure(() => new AttentionKernelCases(backend, shape), cases => cases.Cases, 0.25);
        Measure(() => new AdapterKernelCases(backend, shape), cases => cases.Cases, 0.02);
        await Task.CompletedTask;

        void Measure<T>(Func<T> create, Func<T, IEnumerable<KernelCase>> of, double until)
            where T : IDisposable => run.Try(typeof(T).Name, () =>
            {
                using T group = create();
                foreach (KernelCase one in of(group))
                {
                    if (!run.Has(until))
                    {
                        run.Skip(shape.Name, one.Name, "no time left for it");
                        continue;
                    }

                    run.Try($"{shape.Name} {one.Name}", () => Record(run, shape, timer, one, ceilings));
                }
            });
    }

    /// <summary>A decoding step of so many sequences, or a prefill of one where there are more rows than sequences.</summary>
    public static StepInputs Step(int rows, int sequences, int context, Func<int, int[]> blocksOf)
    {
        StepInputs step = new(rows, sequences);
        for (int i = 0; i < sequences; i++)
        {
            step.AddSequence(new int[rows / sequences], context - (rows / sequences), blocksOf(i));
        }

        return step;
    }

    private static void Record(StageRun run, ModelDimensions shape, KernelTimer timer, KernelCase one, Ceilings ceilings)
    {
        bool isDecode = one.Step.TokenCount == one.Step.Sequences.Length;
        double seconds = timer.Seconds(one, isDecode ? CallsOfDecode : CallsOfPrefill, Steps);
        double least = ceilings.Seconds(one.Bytes, one.Operations);

        // As a rate, so that a share of the ceiling is one of work done in the time.
        run.Record(
            shape.Name,
            one.Name,
            1 / seconds,
            "calls/s",
            1 / least,
            string.Create(CultureInfo.InvariantCulture, $"{1e6 * seconds:F1} us; {one.Bytes / seconds / 1e9:F0} GB/s, {one.Operations / seconds / 1e12:F1} TFLOP/s"));
    }

    private static IComputeBackend Create(GpuOptions options)
    {
        if (!options.IsCuda)
        {
            return new CpuBackend(new CpuOptions());
        }

        CudaOptions cuda = new() { LibraryPath = options.CudaLibraries, KernelCache = Path.Combine(options.Work, "kernels") };
        return CudaBackend.TryCreate(cuda, out CudaBackend? backend, out string reason) ? backend : throw new InvalidOperationException($"no CUDA here: {reason}");
    }
}
