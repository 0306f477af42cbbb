using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Engine;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Training;
using InferenceServer.Tensors;
using Microsoft.Extensions.Options;

namespace InferenceServer.Server.Hosting;

/// <summary>What serves once the model is loaded: the model on its device, the adapters and the engine over both.</summary>
public sealed class Serving(
    LanguageModel model,
    IComputeBackend backend,
    AdapterCatalog catalog,
    AdapterCache cache,
    InferenceEngine engine,
    AdapterUsage usage,
    AdapterPins pins,
    TrainingJobs training,
    TrainingWorker worker,
    TrainingEvaluations evaluations,
    Downloads downloads,
    TimeProvider time,
    IOptions<ServerOptions> server,
    IOptions<SchedulerOptions> scheduler,
    IOptions<AdapterCacheOptions> cacheOptions,
    IOptions<AdapterCatalogOptions> catalogOptions)
{
    public IComputeBackend Backend { get; } = backend;

    public AdapterCatalog Catalog { get; } = catalog;

    public AdapterCache Cache { get; } = cache;

    public InferenceEngine Engine { get; } = engine;

    public AdapterUsage Usage { get; } = usage;

    public AdapterPins Pins { get; } = pins;

    /// <summary>Training jobs.</summary>
    public TrainingJobs Training { get; } = training;

    internal TrainingWorker Worker { get; } = worker;

    internal TrainingEvaluations Evaluations { get; } = evaluations;

    internal Downloads Downloads { get; } = downloads;

    public DateTimeOffset StartedAt { get; } = time.GetUtcNow();

    private string ModelName => server.Value.ModelName.Length > 0 ? server.Value.ModelName : model.Name;

    private string WeightFormatName => model.Transformer.WeightFormat.ToString().ToLowerInvariant();

    public ModelInfo DescribeModel()
    {
        TransformerModel transformer = model.Transformer;
        return new ModelInfo
        {
            Name = ModelName,
            Architecture = transformer.Config.Architecture,
            Parameters = transformer.ParameterCount,
            WeightBytes = transformer.WeightBytes,
            WeightFormat = WeightFormatName,
            Layers = transformer.Config.LayerCount,
            HiddenSize = transformer.Config.HiddenSize,
            VocabularySize = transformer.Config.VocabularySize,
            MaxModelLength = transformer.MaxModelLength,
            HasTokenizer = model.Tokenizer is not null,
            HasChatTemplate = model.ChatTemplates is not null,
        };
    }

    public Limits DescribeLimits()
    {
        AdapterLimits adapters = catalogOptions.Value.Limits;
        return new Limits
        {
            MaxQueuedRequests = scheduler.Value.MaxWaiting,
            MaxRunningSequences = scheduler.Value.MaxRunningSequences,
            MaxBatchTokens = scheduler.Value.MaxBatchTokens,
            MaxAdapterRank = adapters.MaxRank,
            MaxAdapterBytes = adapters.MaxBytes,
            HostAdapterBudgetBytes = cacheOptions.Value.HostBudgetBytes,
            DeviceAdapterBudgetBytes = cacheOptions.Value.DeviceBudgetBytes,
            KvBlocks = Engine.Snapshot().KvBlocksTotal,
            KvBlockSize = scheduler.Value.KvBlockSize,
        };
    }

    public Load DescribeLoad()
    {
        EngineSnapshot now = Engine.Snapshot();
        AdapterCacheStatistics adapters = Cache.GetStatistics();
        return new Load
        {
            Running = now.Running,
            Waiting = now.Waiting,
            KvBlocksUsed = now.KvBlocksUsed,
            AdaptersOnDisk = Catalog.ListAll().Count,
            AdaptersOnHost = adapters.HostCount,
            AdaptersOnDevice = adapters.DeviceCount,
        };
    }

    internal void LogStart(ILogger log, TimeSpan loading)
    {
        ModelInfo info = DescribeModel();
        Limits limits = DescribeLimits();
        ServerLog.Serving(
            log,
            info.Name,
            info.Architecture,
            info.Parameters,
            info.WeightFormat,
            ByteSize.Format(info.WeightBytes),
            Backend.Description,
            loading.TotalSeconds);
        ServerLog.Limits(
            log,
            info.MaxModelLength,
            limits.MaxRunningSequences,
            limits.MaxQueuedRequests,
            limits.MaxBatchTokens,
            limits.KvBlocks,
            limits.KvBlockSize,
            ByteSize.Format(limits.HostAdapterBudgetBytes),
            ByteSize.Format(limits.DeviceAdapterBudgetBytes),
            Catalog.ListAll().Count,
            Path.GetFullPath(server.Value.Data));
    }
}
