using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Training.Data;

namespace InferenceServer.Demo.Making;

/// <summary>A base on the CPU, to be trained or to train adapters on.</summary>
internal sealed class TrainingBench : IDisposable
{
    /// <summary>Tokens of a micro-batch. Some fifty questions with their answers.</summary>
    public const int BatchTokens = 1024;

    public TrainingBench(string folder, int threads)
    {
        Folder = folder;
        Backend = new CpuBackend(new CpuOptions { ThreadCount = threads, Products = CpuProducts.Vectors });
        Operations = CpuTraining.Create(Backend);
        Model = LanguageModel.Load(
            folder,
            Backend,
            new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = BatchTokens, MaxSampledRows = BatchTokens });
    }

    public string Folder { get; }

    public CpuBackend Backend { get; }

    public ITrainingBackend Operations { get; }

    public LanguageModel Model { get; }

    public Dataset Load(string path) => Dataset.Load(
        path, Model.Tokenizer!, Model.ChatTemplates, new DatasetOptions { MaxSampleTokens = 128, LongSamples = LongSamplePolicy.Reject });

    public void Dispose()
    {
        Model.Dispose();
        Operations.Dispose();
        Backend.Dispose();
    }
}
