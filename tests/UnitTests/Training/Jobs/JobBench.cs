using InferenceServer.AdapterStore.Catalog;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.TestKit.TinyModel;
using InferenceServer.Training.Jobs;
using InferenceServer.Training.Runs;

namespace InferenceServer.UnitTests.Training.Jobs;

/// <summary>A tiny base and folders for jobs on it.</summary>
public sealed class JobBench : IDisposable
{
    public const string Lora =
        """{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "target_modules": ["q_proj", "down_proj"]}""";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("jobs-");
    private readonly CpuBackend _backend = new(new CpuOptions { ThreadCount = 1, Products = CpuProducts.Vectors });
    private readonly ITrainingBackend _operations;
    private readonly AdapterCatalog _catalog;
    private int _folders;

    public JobBench()
        : this(seed: 1)
    {
    }

    internal JobBench(int seed)
    {
        _operations = CpuTraining.Create(_backend);
        string model = Path.Combine(_folder.FullName, "model");
        new TinyLlama { Seed = seed, HiddenSize = 16, IntermediateSize = 24, Heads = 2, KvHeads = 1, Layers = 1 }.Write(model);
        Model = Load(model);
        _catalog = new AdapterCatalog(new AdapterCatalogOptions { Root = Path.Combine(_folder.FullName, "catalog") }, Model.Transformer.Shape);
    }

    public LanguageModel Model { get; }

    /// <summary>Six steps with a checkpoint at every other.</summary>
    public static TrainingSpec Spec(string config = Lora) => new()
    {
        Adapter = "pupil",
        AdapterConfig = config,
        Optimizer = new OptimizerSpec { LearningRate = 5e-3 },
        Data = new DataSpec { MaxSampleTokens = 48, HeldOutShare = 0.25 },
        Run = new RunSpec { Steps = 6, MaxBatchTokens = 48, CheckpointEvery = 2 },
        Evaluation = new EvaluationSpec { Every = 3 },
    };

    public string NewFolder() => Path.Combine(_folder.FullName, $"jobs-{_folders++}");

    public LanguageModel Load(string folder) => LanguageModel.Load(
        folder, _backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 1, MaxSampledRows = 1 });

    internal JobStore Open(string folder, StoreFiles? files = null) => new(folder, TimeProvider.System, files ?? new StoreFiles());

    /// <summary>A queued job.</summary>
    public StoredJob Start(JobStore store, TrainingSpec? spec = null)
    {
        using NewJob draft = store.Begin(1 << 20);
        for (int i = 0; i < 16; i++)
        {
            draft.Write(System.Text.Encoding.UTF8.GetBytes($"{{\"prompt\": \"{i % 5}+{i % 3}=\", \"completion\": \"{(i % 5) + (i % 3)}\"}}\n"));
        }

        return draft.Commit(spec ?? Spec(), Model.Name, JobPlan.Fingerprint(Model.Transformer.Shape));
    }

    /// <summary>Trains, and compares answers if the job asks for it.</summary>
    internal bool Run(StoredJob job, StoreFiles? files = null, Action<TrainingEvent>? tell = null, CancellationToken stop = default)
    {
        JobRunner runner = new(job, _catalog, tell ?? (_ => { }), () => TimeSpan.Zero, files ?? new StoreFiles());
        bool isDone = runner.Train(Model, _backend, _operations, stop);
        if (isDone && runner.NeedsJudging)
        {
            runner.Judge(Model, _backend, stop);
        }

        return isDone;
    }

    public static byte[] Weights(StoredJob job) => File.ReadAllBytes(Path.Combine(job.AdapterFolder!, PeftImporter.WeightsFileName));

    public void Dispose()
    {
        _catalog.Dispose();
        Model.Dispose();
        _operations.Dispose();
        _backend.Dispose();
        _folder.Delete(recursive: true);
    }
}
