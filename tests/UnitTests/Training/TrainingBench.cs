using System.Text;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Models;
using InferenceServer.Training;

namespace InferenceServer.UnitTests.Training;

/// <summary>A small base with a backend, to train on and to serve from.</summary>
internal sealed class TrainingBench : IDisposable
{
    public static readonly string BaseFolder = Path.Combine(AppContext.BaseDirectory, "Data", "golden", "fixtures", "training", "base");

    public static readonly TrainingOptions Options = new() { LearningRate = 5e-3, MaxBatchTokens = 64, Seed = 3 };

    public static readonly int[] Tokens = [29, 95, 9, 41, 4, 3, 52, 5, 15, 67];

    public static readonly SupervisedBatch Batch = new(
        [
            new SupervisedSequence(Tokens, [-100, -100, 9, 41, 4, 3, 52, 5, 15, 67]),
            new SupervisedSequence([76, 25, 60], [76, -100, 60]),
            new SupervisedSequence([.. Enumerable.Range(40, 33)], [.. Enumerable.Range(40, 33)]),
        ]);

    private readonly ModelHarness _harness;

    public TrainingBench(int threads = 2, WeightFormat format = WeightFormat.F32, string? folder = null)
    {
        Backend = new CpuBackend(new CpuOptions { ThreadCount = threads, Products = CpuProducts.Vectors });
        Operations = CpuTraining.Create(Backend);
        Model = TransformerModel.Load(
            folder ?? BaseFolder, Backend, new ModelLoadOptions { Weights = format, MaxBatchTokens = 64, MaxSampledRows = 64 });
        _harness = new ModelHarness(Model, Backend);
    }

    public CpuBackend Backend { get; }

    public ITrainingBackend Operations { get; }

    public TransformerModel Model { get; }

    public static AdapterRecipe Recipe(string config) => AdapterRecipe.Parse(Encoding.UTF8.GetBytes(config));

    public Trainer Adapter(string config, string? start = null, TrainingOptions? options = null) =>
        Adapter(Recipe(config), start, options);

    public Trainer Adapter(AdapterRecipe recipe, string? start = null, TrainingOptions? options = null) =>
        Trainer.ForAdapter(Model, Backend, Operations, recipe, options ?? Options, start);

    public Trainer AllWeights() => Trainer.ForAllWeights(Model, Backend, Operations, Options);

    /// <summary>Logits of the tokens as the server computes them, with the adapter of a folder.</summary>
    public float[] Serve(string? folder)
    {
        if (folder is null)
        {
            return _harness.Logits([new HarnessSequence(Tokens)])[0];
        }

        AdapterWeights weights = new PeftImporter(Model.Shape).Import(folder, "trained").Weights;
        using DeviceAdapter adapter = Backend.CreateAdapter(weights, WeightFormat.F32);
        return _harness.Logits([new HarnessSequence(Tokens, new LoraEntry(adapter, 1f))])[0];
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
        Operations.Dispose();
        Backend.Dispose();
    }
}
