using System.Text;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Models;
using InferenceServer.TestKit.TinyModel;
using InferenceServer.Training;
using InferenceServer.Training.Export;

namespace InferenceServer.UnitTests.Training;

/// <summary>
/// A tiny base and an adapter trained on each of three tasks: runs of letters upwards, downwards and by twos. The sign before a run says
/// which, so the letters alone do not tell the tasks apart.
/// </summary>
public sealed class RouterBench : IDisposable
{
    /// <summary>The tasks, and the adapters trained on them.</summary>
    public static readonly string[] Tasks = ["up", "down", "twos"];

    private const string Lora = """{"peft_type": "LORA", "r": 6, "lora_alpha": 12, "target_modules": "all-linear"}""";
    private const int RunLength = 9;
    private const int Steps = 100;

    private readonly ITrainingBackend _operations;
    private readonly ModelHarness _harness;

    public RouterBench()
    {
        new TinyLlama { Seed = 7 }.Write(ModelFolder);
        Backend = new CpuBackend(new CpuOptions { ThreadCount = 1, Products = CpuProducts.Vectors });
        _operations = CpuTraining.Create(Backend);
        Model = TransformerModel.Load(
            ModelFolder, Backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 128, MaxSampledRows = 128 });
        _harness = new ModelHarness(Model, Backend);
        for (int task = 0; task < Tasks.Length; task++)
        {
            using Trainer trainer = Train(Recipe(Lora), 2e-2);
            for (int step = 0; step < Steps; step++)
            {
                trainer.Step(new SupervisedBatch(Sequences(task, step, 8)));
            }

            PeftExporter.Write(trainer, Path.Combine(Root, Tasks[task]));
        }
    }

    public string Root { get; } = Directory.CreateTempSubdirectory("router-").FullName;

    public string ModelFolder => Path.Combine(Root, "model");

    public CpuBackend Backend { get; }

    public TransformerModel Model { get; }

    public static AdapterRecipe Recipe(string config) => AdapterRecipe.Parse(Encoding.UTF8.GetBytes(config));

    /// <summary>Sequences of a task, the same for the same seed.</summary>
    public static SupervisedSequence[] Sequences(int task, int seed, int count)
    {
        (char sign, int stride) = task switch
        {
            0 => ('+', 1),
            1 => ('-', 25),
            _ => ('*', 2),
        };
        Random random = new((100_000 * task) + seed);
        return
        [
            .. Enumerable.Range(0, count).Select(_ =>
            {
                int letter = random.Next(26);
                int[] tokens = [sign, .. Enumerable.Range(0, RunLength).Select(i => 'a' + ((letter + (i * stride)) % 26))];

                // Which letter begins is chance: nobody can learn it.
                return new SupervisedSequence(tokens, [.. tokens.Select((token, i) => i < 2 ? SupervisedSequence.Ignored : token)]);
            }),
        ];
    }

    /// <summary>Some sequences of each task.</summary>
    public static SupervisedBatch Mixture(int seed) => new([.. Enumerable.Range(0, Tasks.Length).SelectMany(task => Sequences(task, seed, 4))]);

    /// <summary>The loss over sequences of each task that nothing was trained on.</summary>
    public static double[] LossByTask(Trainer trainer) =>
        [.. Enumerable.Range(0, Tasks.Length).Select(task => trainer.Evaluate(new SupervisedBatch(Sequences(task, 99_999, 12))))];

    /// <summary>A router over the trained tasks, with further members of router_config.</summary>
    public AdapterRecipe Router(string more = "") => Router(Tasks, Import, more);

    public static AdapterRecipe Router(string[] names, Func<string, AdapterWeights> source, string more = "")
    {
        string list = string.Join(", ", names.Select(name => $"\"{name}\""));
        return Recipe($$"""{"peft_type": "ROUTED_LORA", "router_config": {"adapters": [{{list}}]{{more}} } }""")
            .WithSources(names.ToDictionary(name => name, source));
    }

    public AdapterWeights Import(string name) => new PeftImporter(Model.Shape).Import(Path.Combine(Root, name), name).Weights;

    public Trainer Train(AdapterRecipe recipe, double learningRate = 1e-2, string? start = null) => Trainer.ForAdapter(
        Model,
        Backend,
        _operations,
        recipe,
        new TrainingOptions { LearningRate = learningRate, MaxBatchTokens = 128, Seed = 3, WeightDecay = 0, MaxGradientNorm = 1 },
        start);

    /// <summary>The trained adapter of a task, to be judged.</summary>
    public Trainer Single(string task) => Train(Recipe(Lora), start: Path.Combine(Root, task));

    /// <summary>Logits of the tokens as the server computes them.</summary>
    public float[] Serve(AdapterWeights weights, int[] tokens)
    {
        using DeviceAdapter adapter = Backend.CreateAdapter(weights, WeightFormat.F32);
        return _harness.Logits([new HarnessSequence(tokens, new LoraEntry(adapter, 1f))])[0];
    }

    public float[] Read(TensorView view)
    {
        float[] values = new float[view.Rows * view.Columns];
        Backend.Read(view, values);
        return values;
    }

    public void Dispose()
    {
        _harness.Dispose();
        Model.Dispose();
        _operations.Dispose();
        Backend.Dispose();
        Directory.Delete(Root, recursive: true);
    }
}
