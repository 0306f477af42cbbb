using System.Globalization;
using InferenceServer.Cpu;
using InferenceServer.Cuda;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>
/// Greedy tokens of small golden models: the device's beside the CPU's of the same machine, and with graphs beside without. Two devices round
/// differently, so where the CPU's two best logits are nearer than bf16 tells apart the choice may differ, and what follows is not compared.
/// </summary>
internal static class FixtureStage
{
    public const string All = "all models";

    public const string AsCpu = "greedy tokens as the CPU's";

    public const string AsGraphs = "greedy tokens with graphs as without";

    private const int MaxNewTokens = 32;

    // Relative, of the largest logit: bf16 keeps 8 bits.
    private const double Near = 2e-2;

    public static async Task RunAsync(StageRun run)
    {
        string root = Path.Combine(AppContext.BaseDirectory, "fixtures");
        string[] folders = Directory.Exists(root) ? [.. Directory.GetDirectories(root).Order(StringComparer.Ordinal)] : [];
        if (folders.Length == 0)
        {
            run.Skip(All, AsCpu, $"no models in {root}; the packed benchmark has them");
            return;
        }

        int[] asCpu = [0, 0], asGraphs = [0, 0];
        foreach (string folder in folders)
        {
            run.Try(Path.GetFileName(folder), () => Compare(run, folder, asCpu, asGraphs));
        }

        run.Record(All, AsCpu, (double)asCpu[0] / asCpu[1], "of 1", note: string.Create(CultureInfo.InvariantCulture, $"{asCpu[0]} of {asCpu[1]} tokens"));
        run.Record(All, AsGraphs, (double)asGraphs[0] / asGraphs[1], "of 1", note: string.Create(CultureInfo.InvariantCulture, $"{asGraphs[0]} of {asGraphs[1]} tokens"));
        await Task.CompletedTask;
    }

    private static void Compare(StageRun run, string folder, int[] asCpu, int[] asGraphs)
    {
        using ExpectedTensors expected = new(folder);
        int[][] prompts = [.. Enumerable.Range(0, expected.Count("seq")).Select(i => expected.Ints($"seq{i}.input_ids"))];
        using CpuBackend cpu = new(new CpuOptions { Products = CpuProducts.Vectors });
        using TransformerModel onCpu = TransformerModel.Load(folder, cpu, new ModelLoadOptions());
        using ModelHarness reference = new(onCpu, cpu);
        int newTokens = Math.Min(MaxNewTokens, onCpu.MaxModelLength - prompts.Max(prompt => prompt.Length));
        int[][] wanted = Greedy(reference, prompts, newTokens);
        int[][] withGraphs = OnDevice(run.Options, folder, graphs: true, prompts, newTokens);
        int[][] without = OnDevice(run.Options, folder, graphs: false, prompts, newTokens);
        int equal = 0, compared = 0, same = 0;
        for (int i = 0; i < prompts.Length; i++)
        {
            int until = Enumerable.Range(0, newTokens).FirstOrDefault(n => wanted[i][n] != withGraphs[i][n], newTokens);
            bool isClose = until < newTokens && AreNear(reference, [.. prompts[i], .. wanted[i][..until]], wanted[i][until], withGraphs[i][until], onCpu.Config.VocabularySize);
            equal += until;
            compared += until == newTokens || isClose ? until : newTokens;
            same += Enumerable.Range(0, newTokens).Count(n => withGraphs[i][n] == without[i][n]);
        }

        asCpu[0] += equal;
        asCpu[1] += compared;
        asGraphs[0] += same;
        asGraphs[1] += newTokens * prompts.Length;
        run.Record(Path.GetFileName(folder), AsCpu, (double)equal / compared, "of 1", note: string.Create(CultureInfo.InvariantCulture, $"{equal} of {compared} tokens; {(newTokens * prompts.Length) - compared} after a choice between near logits"));
        run.Record(Path.GetFileName(folder), AsGraphs, (double)same / (newTokens * prompts.Length), "of 1");
    }

    private static int[][] OnDevice(GpuOptions options, string folder, bool graphs, int[][] prompts, int newTokens)
    {
        using IComputeBackend backend = Create(options, graphs);
        using TransformerModel model = TransformerModel.Load(folder, backend, new ModelLoadOptions());
        using ModelHarness harness = new(model, backend);
        return Greedy(harness, prompts, newTokens);
    }

    private static IComputeBackend Create(GpuOptions options, bool graphs)
    {
        if (!options.IsCuda)
        {
            return new CpuBackend(new CpuOptions());
        }

        CudaOptions cuda = new() { LibraryPath = options.CudaLibraries, Graphs = graphs, KernelCache = Path.Combine(options.Work, "kernels") };
        return CudaBackend.TryCreate(cuda, out CudaBackend? backend, out string reason) ? backend : throw new InvalidOperationException($"no CUDA here: {reason}");
    }

    private static int[][] Greedy(ModelHarness harness, int[][] prompts, int newTokens) =>
        harness.Greedy([.. prompts.Select(prompt => new HarnessSequence(prompt))], newTokens);

    /// <summary>Whether the CPU itself sees two tokens after a text nearly alike.</summary>
    private static bool AreNear(ModelHarness reference, int[] text, int first, int second, int vocabulary)
    {
        ReadOnlySpan<float> last = reference.Logits([new HarnessSequence(text)])[0].AsSpan((text.Length - 1) * vocabulary, vocabulary);
        float largest = System.Numerics.Tensors.TensorPrimitives.MaxMagnitude(last);
        return Math.Abs(last[first] - last[second]) <= Near * Math.Abs(largest);
    }
}
