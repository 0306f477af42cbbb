using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Cpu;
using InferenceServer.Demo.Making;
using InferenceServer.Engine;
using InferenceServer.Engine.Adapters;
using InferenceServer.Engine.Merging;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;

namespace InferenceServer.Demo.Verifying;

/// <summary>The demo's base with its tenants in an engine, as the server has them: bf16 weights, adapters through the catalog's door.</summary>
internal sealed class DemoServing : IAsyncDisposable
{
    private const int MaxAnswerTokens = 48;

    private readonly string _catalogRoot = Directory.CreateTempSubdirectory("demo-catalog-").FullName;
    private readonly CpuBackend _backend;
    private readonly LanguageModel _model;
    private readonly AdapterCatalog _catalog;
    private readonly AdapterCache _cache;
    private readonly InferenceEngine _engine;

    private DemoServing(DemoFolder demo, IEnumerable<TenantPlan> tenants, int threads)
    {
        SchedulerOptions scheduler = new();
        AdapterCacheOptions cache = new();
        _backend = new CpuBackend(new CpuOptions { ThreadCount = threads });
        _model = LanguageModel.Load(
            demo.Base,
            _backend,
            new ModelLoadOptions { MaxBatchTokens = scheduler.MaxBatchTokens, MaxSampledRows = scheduler.MaxRunningSequences });
        _catalog = new AdapterCatalog(new AdapterCatalogOptions { Root = _catalogRoot }, _model.Transformer.Shape);
        foreach (TenantPlan plan in tenants)
        {
            _catalog.ImportFolder(plan.Name, demo.Adapter(plan.Name));
        }

        _cache = new AdapterCache(_catalog, _backend, WeightFormat.BF16, cache);
        AdapterAccess access = new(name => _catalog.Get(name).Id, _catalog, _cache, cache.DeviceBudgetBytes, WeightFormat.BF16);
        EngineOptions options = new() { KvCacheBytes = 64L << 20 };
        _engine = new InferenceEngine(_model, _backend, access, options, scheduler, new MergeOptions());
    }

    public AdapterCatalog Catalog => _catalog;

    public static async Task<DemoServing> StartAsync(DemoFolder demo, IEnumerable<TenantPlan> tenants, int threads)
    {
        DemoServing serving = new(demo, tenants, threads);
        await serving._engine.StartAsync();
        return serving;
    }

    /// <summary>The answer to a question, the likeliest token at a time.</summary>
    /// <param name="adapter">The tenant; null for the base.</param>
    /// <param name="question">What is asked.</param>
    public async Task<string> AnswerAsync(string? adapter, string question)
    {
        await using GenerationStream stream = await _engine.SubmitAsync(new GenerationRequest
        {
            Prompt = new TextPrompt(question),
            Adapters = adapter is null ? [] : [new AdapterReference(adapter)],
            Sampling = new SamplingParameters { Temperature = 0 },
            Stopping = new StoppingCriteria { MaxTokens = MaxAnswerTokens },
        });
        string answer = "";
        await foreach (GenerationChunk chunk in stream.ReadAllAsync())
        {
            answer += chunk.Text;
        }

        return answer;
    }

    public async ValueTask DisposeAsync()
    {
        await _engine.DisposeAsync();
        _cache.Dispose();
        _catalog.Dispose();
        _model.Dispose();
        _backend.Dispose();
        Directory.Delete(_catalogRoot, recursive: true);
    }
}
