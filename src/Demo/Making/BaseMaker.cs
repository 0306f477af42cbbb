using System.Runtime.InteropServices;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.Training;
using InferenceServer.Training.Export;
using InferenceServer.Training.Optimisation;
using InferenceServer.Training.Runs;

namespace InferenceServer.Demo.Making;

/// <summary>Makes the base: text, tokenizer, random weights, full training, export in bf16. Goes on where it was stopped.</summary>
internal static class BaseMaker
{
    private const int Seed = 20_261_122;
    private const int HeldOutSamples = 1_000;

    /// <param name="demo">Where the base goes.</param>
    /// <param name="work">Text, start and checkpoints; kept, so that a stopped run goes on.</param>
    /// <param name="settings">Length and threads.</param>
    /// <param name="output">Told of the progress.</param>
    public static void Make(DemoFolder demo, string work, MakeSettings settings, TextWriter output)
    {
        if (File.Exists(Path.Combine(demo.Base, "model.safetensors")))
        {
            output.WriteLine($"base: {demo.Base} is there already");
            return;
        }

        string start = Path.Combine(work, "start");
        string train = Path.Combine(work, "base.jsonl");
        string heldOut = Path.Combine(work, "base-held-out.jsonl");
        Directory.CreateDirectory(work);
        if (!File.Exists(Path.Combine(start, "model.safetensors")))
        {
            TrainingText.WriteBase(train, settings.BaseSamples, Seed);
            TrainingText.WriteBase(heldOut, HeldOutSamples, Seed + 1, isHeldOut: true);
            BaseModel.WriteStart(start, Seed);
        }

        using TrainingBench bench = new(start, settings.Threads);
        output.WriteLine($"base: {bench.Model.Transformer.ParameterCount} parameters, {bench.Model.Tokenizer!.VocabularySize} tokens");
        using Trainer trainer = Trainer.ForAllWeights(bench.Model.Transformer, bench.Backend, bench.Operations, new TrainingOptions
        {
            LearningRate = 2e-3,
            Beta2 = 0.98,
            WeightDecay = 0.05,
            MaxGradientNorm = 1,
            Schedule = ScheduleKind.Cosine,
            WarmUpSteps = 200,
            TotalSteps = settings.BaseSteps,
            MaxBatchTokens = TrainingBench.BatchTokens,
            Seed = Seed,
        });
        RunOptions options = new()
        {
            Steps = settings.BaseSteps,
            MicroBatches = 1,
            DataSeed = Seed,
            EvaluateEvery = 500,
            CheckpointEvery = 500,
        };
        TrainingRun run = new(trainer, bench.Load(train), bench.Load(heldOut), options, Path.Combine(work, "base-run"));
        Progress progress = new(output, "base", interval: 100);
        run.Run(progress.Tell);
        string exported = Path.Combine(work, "exported");
        ModelExporter.Write(trainer, bench.Model.Transformer, start, exported);
        Round(exported, demo.Base);
        demo.Record(DemoFolder.BaseName, bench.Model.Transformer.ParameterCount, progress.Seconds);
    }

    /// <summary>Copies the model with its weights rounded to bf16, as it is committed; the tenants are trained on this one.</summary>
    private static void Round(string source, string target)
    {
        Directory.CreateDirectory(target);
        foreach (string file in Directory.EnumerateFiles(source).Where(file => Path.GetExtension(file) == ".json"))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)), overwrite: true);
        }

        using SafetensorsFile weights = SafetensorsFile.Open(Path.Combine(source, "model.safetensors"));
        List<SafetensorsWriter.Tensor> tensors = [];
        foreach (SafetensorsEntry entry in weights.Entries.Values.OrderBy(entry => entry.Offset))
        {
            ushort[] bits = Array.ConvertAll(weights.ReadSingles(entry), BFloat16.FromSingle);
            tensors.Add(new SafetensorsWriter.Tensor(entry.Name, DType.BF16, entry.Shape, MemoryMarshal.AsBytes<ushort>(bits).ToArray()));
        }

        using FileStream stream = File.Create(Path.Combine(target, "model.safetensors"));
        SafetensorsWriter.Write(stream, tensors, new Dictionary<string, string> { ["format"] = "pt" });
    }
}
