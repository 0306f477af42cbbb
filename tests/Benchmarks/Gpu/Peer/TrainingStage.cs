using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Training;

namespace InferenceServer.Benchmarks.Gpu.Peer;

/// <summary>Steps of fine-tuning a LoRA on all linear modules of a bf16 base, ours and PEFT's in turn, and the memory of each.</summary>
internal static class TrainingStage
{
    public const string SpeedRatio = "fine-tuning, times PEFT";

    public const string MemoryRatio = "memory of fine-tuning over PEFT's";

    private const int Sequences = 8;
    private const int UsualLength = 512;
    private const int StepsOfSlice = 5;
    private const int WarmUpSteps = 2;

    public static async Task RunAsync(StageRun run)
    {
        ModelDimensions shape = run.Options.TenantShape;
        int length = shape.Tokens(UsualLength);
        await using GpuServer server = await GpuServer.StartAsync(run, shape, kvTokens: 256);
        (IComputeBackend backend, ITrainingBackend operations) = server.Platform.CreateTraining(threads: 0, beforeOperation: null);
        using IComputeBackend training = backend;
        using ITrainingBackend gradients = operations;
        long before = FreeBytes(training);
        using Trainer trainer = Trainer.ForAdapter(
            server.Model, training, gradients, Recipe(), new TrainingOptions { LearningRate = 1e-4, MaxBatchTokens = Sequences * length, MaxSequences = Sequences });
        SupervisedBatch batch = Batch(shape, length);
        for (int i = 0; i < WarmUpSteps; i++)
        {
            trainer.Step(batch);
        }

        // What was taken from the device; where that is not known, what training counts itself.
        long held = before > 0 ? before - FreeBytes(training) : trainer.PeakBytes;
        double ours = server.Model.WeightBytes + held;
        run.Record(
            shape.Name,
            "memory of fine-tuning, ours",
            ours / 1e9,
            "GB",
            note: string.Create(CultureInfo.InvariantCulture, $"{server.Model.WeightBytes / 1e9:F2} of it the base; without what serving takes beside it"));
        await CompareAsync(run, shape, length, ours, () =>
        {
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < StepsOfSlice; i++)
            {
                trainer.Step(batch);
            }

            return Stopwatch.GetElapsedTime(start).TotalSeconds;
        });
    }

    private static async Task CompareAsync(StageRun run, ModelDimensions shape, int length, double ourBytes, Func<double> seconds)
    {
        double tokens = StepsOfSlice * Sequences * length;
        string sizes = string.Create(CultureInfo.InvariantCulture, $"{Sequences} sequences of {length} tokens a step, rank {AdapterFiles.Rank} on all linear modules");
        (PeftProcess? started, string reason) = await PeftProcess.StartAsync(
            run.Options,
            shape,
            run.Folder("peer"),
            "--train",
            "--sequences",
            Sequences.ToString(CultureInfo.InvariantCulture),
            "--length",
            length.ToString(CultureInfo.InvariantCulture));
        using PeftProcess? peer = started;
        Alternation sides = peer is null
            ? new(("ours", () => Task.FromResult(tokens / seconds())))
            : new(("ours", () => Task.FromResult(tokens / seconds())), ("theirs", async () => tokens / await peer.TrainAsync(StepsOfSlice)));
        await sides.RunAsync(run.Options.Rounds, () => run.Has(0.1));
        string note = string.Create(CultureInfo.InvariantCulture, $"{sizes}; median of {sides.Rounds} rounds of {StepsOfSlice} steps");
        run.Record(shape.Name, "fine-tuning, ours", sides.Median("ours"), "tokens/s", note: note);
        if (peer is null)
        {
            run.Skip(shape.Name, SpeedRatio, reason);
            return;
        }

        run.Record(shape.Name, "fine-tuning, theirs", sides.Median("theirs"), "tokens/s", note: $"{peer.Versions}; {note}");
        run.Record(shape.Name, SpeedRatio, sides.Ratio("ours", "theirs"), "times", note: note);
        double theirs = await peer.MemoryAsync();
        run.Record(shape.Name, "memory of fine-tuning, theirs", theirs / 1e9, "GB", note: "torch.cuda.max_memory_allocated");
        if (theirs > 0)
        {
            run.Record(shape.Name, MemoryRatio, ourBytes / theirs, "times");
        }
    }

    private static SupervisedBatch Batch(ModelDimensions shape, int length)
    {
        Random random = new(13);
        return new SupervisedBatch([.. Enumerable.Range(0, Sequences).Select(_ =>
        {
            int[] tokens = [.. Enumerable.Range(0, length).Select(_ => random.Next(shape.Vocabulary))];
            return new SupervisedSequence(tokens, tokens);
        })]);
    }

    private static AdapterRecipe Recipe() => AdapterRecipe.Parse(Encoding.UTF8.GetBytes(new JsonObject
    {
        ["peft_type"] = "LORA",
        ["task_type"] = "CAUSAL_LM",
        ["r"] = AdapterFiles.Rank,
        ["lora_alpha"] = AdapterFiles.Rank,
        ["lora_dropout"] = 0.0,
        ["target_modules"] = new JsonArray([.. ModelDimensions.Modules.Select(module => JsonValue.Create(module))]),
        ["bias"] = "none",
    }.ToJsonString()));

    private static long FreeBytes(IComputeBackend backend) => backend is CudaBackend cuda ? cuda.Context.Device.Memory.Free : 0;
}
