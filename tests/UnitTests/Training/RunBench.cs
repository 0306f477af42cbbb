using System.Runtime.InteropServices;
using System.Text;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Training;
using InferenceServer.Training.Data;
using InferenceServer.Training.Optimisation;

namespace InferenceServer.UnitTests.Training;

/// <summary>A tiny base, a trainer on it and a small data set.</summary>
internal sealed class RunBench : IDisposable
{
    public static readonly Dataset Samples = CreateSamples();

    private static readonly string s_base = Path.Combine(AppContext.BaseDirectory, "Data", "golden", "fixtures", "training", "base");

    private readonly ITrainingBackend _operations;

    /// <param name="config">The adapter's; null trains all weights.</param>
    /// <param name="optimizer">Which optimiser.</param>
    /// <param name="learningRate">Its rate.</param>
    /// <param name="create">Makes the machine; null for the processor.</param>
    /// <param name="weights">How the base is kept.</param>
    public RunBench(
        string? config,
        OptimizerKind optimizer = OptimizerKind.AdamW,
        double learningRate = 5e-3,
        Func<(IComputeBackend Backend, ITrainingBackend Operations)>? create = null,
        WeightFormat weights = WeightFormat.F32)
    {
        (Backend, _operations) = (create ?? TrainingMachines.Cpu)();
        Model = TransformerModel.Load(
            s_base, Backend, new ModelLoadOptions { Weights = weights, MaxBatchTokens = 64, MaxSampledRows = 64 });
        TrainingOptions options = new()
        {
            LearningRate = learningRate,
            Optimizer = optimizer,
            MaxBatchTokens = 64,
            Seed = 3,
            Schedule = ScheduleKind.Cosine,
            WarmUpSteps = 2,
            TotalSteps = 12,
            MaxGradientNorm = 1,
        };
        Trainer = config is null
            ? Trainer.ForAllWeights(Model, Backend, _operations, options)
            : Trainer.ForAdapter(Model, Backend, _operations, AdapterRecipe.Parse(Encoding.UTF8.GetBytes(config)), options);
        Source = new BatchSource(Samples, 64, 64, seed: 11);
    }

    public IComputeBackend Backend { get; }

    public TransformerModel Model { get; }

    public Trainer Trainer { get; }

    public BatchSource Source { get; }

    /// <summary>Steps of two batches each; their losses.</summary>
    public double[] Train(int steps) => [.. Enumerable.Range(0, steps).Select(_ => Trainer.Step(Source.Next(), Source.Next()).Loss)];

    /// <summary>All parameters, bit for bit.</summary>
    public byte[] Bits() => [.. Trainer.Parameters.SelectMany(parameter =>
    {
        float[] values = new float[parameter.Count];
        Backend.Read(parameter.Value, values);
        return MemoryMarshal.AsBytes<float>(values).ToArray();
    })];

    public void Dispose()
    {
        Trainer.Dispose();
        Model.Dispose();
        _operations.Dispose();
        Backend.Dispose();
    }

    private static Dataset CreateSamples()
    {
        Random random = new(5);
        return new Dataset([.. Enumerable.Range(0, 18).Select(_ =>
        {
            int[] tokens = [.. Enumerable.Range(0, random.Next(5, 30)).Select(_ => random.Next(3, 96))];
            return new SupervisedSequence(tokens, [.. tokens.Select((token, i) => i < 2 ? SupervisedSequence.Ignored : token)]);
        })]);
    }
}
