using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Training;
using InferenceServer.Training.Export;

namespace InferenceServer.Benchmarks.Training;

/// <summary>Our side of the training benchmark, in a process of its own; it speaks as torch_peer.py does.</summary>
internal static class TrainingWorker
{
    public static void Run(string[] arguments)
    {
        string method = Required(arguments, "--method");
        string adapter = Required(arguments, "--adapter");
        int[][] tokens = JsonSerializer.Deserialize<int[][]>(File.ReadAllText(Required(arguments, "--tokens")))!;
        SupervisedBatch batch = new([.. tokens.Select(sequence => new SupervisedSequence(sequence, sequence))]);
        TrainingOptions options = new()
        {
            LearningRate = double.Parse(Required(arguments, "--rate"), CultureInfo.InvariantCulture),
            MaxBatchTokens = batch.TokenCount,
            MaxSequences = tokens.Length,
            GradientCheckpointing = arguments.Contains("--checkpointing"),
        };
        using CpuBackend backend = new(new CpuOptions { ThreadCount = CommandLine.Number(arguments, "--threads", 0, least: 0), Products = CpuProducts.Vectors });
        using ITrainingBackend operations = CpuTraining.Create(backend);
        using TransformerModel model = TransformerModel.Load(
            Required(arguments, "--model"), backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 1, MaxSampledRows = 1 });
        using Trainer trainer = method == "full"
            ? Trainer.ForAllWeights(model, backend, operations, options)
            : Trainer.ForAdapter(model, backend, operations, Recipe(adapter), options);
        if (method != "full")
        {
            // The peer starts from the same numbers.
            PeftExporter.Write(trainer, adapter);
        }

        Answer(new JsonObject { ["device"] = backend.Description, ["trained"] = trainer.TrainedParameters.Sum(parameter => parameter.Count) });
        while (Console.ReadLine() is { } line && line != "quit")
        {
            int steps = int.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture);
            long start = Stopwatch.GetTimestamp();
            TimeSpan cpu = Environment.CpuUsage.TotalTime;
            double loss = 0;
            for (int i = 0; i < steps; i++)
            {
                loss = trainer.Step(batch).Loss;
            }

            Answer(new JsonObject
            {
                ["seconds"] = Stopwatch.GetElapsedTime(start).TotalSeconds,
                ["cpu"] = (Environment.CpuUsage.TotalTime - cpu).TotalSeconds,
                ["loss"] = loss,
            });
        }

        Answer(new JsonObject { ["peak"] = PeakResidentBytes(), ["held"] = trainer.PeakBytes });
    }

    private static AdapterRecipe Recipe(string folder) =>
        AdapterRecipe.Parse(Encoding.UTF8.GetBytes(File.ReadAllText(Path.Combine(folder, "adapter_config.json"))));

    private static void Answer(JsonObject answer) => Console.WriteLine(answer.ToJsonString());

    private static string Required(string[] arguments, string name) =>
        CommandLine.Option(arguments, name) ?? throw new ArgumentException($"{name} is missing");

    private static long PeakResidentBytes()
    {
        string line = File.ReadLines("/proc/self/status").Single(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        return 1024 * long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
