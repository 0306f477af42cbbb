using System.Collections.Concurrent;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Cpu;
using InferenceServer.Engine;
using InferenceServer.Engine.Adapters;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Streaming;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.TestKit.TinyModel;
using Xunit;

namespace InferenceServer.UnitTests.Engine;

/// <summary>An engine over a tiny random model on the CPU, with a few adapters kept in memory.</summary>
internal sealed class EngineHost : IAsyncDisposable
{
    private static readonly Lazy<string> s_folder = new(WriteFolders);

    private readonly LanguageModel _model;

    private EngineHost(EngineHostOptions options)
    {
        Backend = options.CreateBackend?.Invoke() ?? CreateBackend(options);
        _model = LanguageModel.Load(
            Path.Combine(s_folder.Value, "model"),
            Backend,
            new ModelLoadOptions { Weights = options.Weights, MaxBatchTokens = 128, MaxSampledRows = 32, MaxModelLength = options.MaxModelLength });
        Source = new FolderSource(_model.Transformer.Shape);
        AdapterCacheOptions cacheOptions = new() { DeviceBudgetBytes = options.AdapterBytes };
        Cache = new AdapterCache(Source, Backend, WeightFormat.F32, cacheOptions);
        AdapterAccess access = new(Resolve, Source, Cache, cacheOptions.DeviceBudgetBytes, WeightFormat.F32);
        Engine = new InferenceEngine(_model, Backend, access, new EngineOptions { KvBlocks = options.SharedBytes is null ? options.KvBlocks : null, SharedBytes = options.SharedBytes }, options.Scheduler, options.Merge, options.Time, createProbeBackend: () =>
        {
            OnProbe?.Invoke();
            return new CpuBackend(new CpuOptions { ThreadCount = 1, Products = options.Products });
        });
    }

    public HookedBackend Backend { get; }

    /// <summary>Called before a merge measures what it does to logits.</summary>
    public Action? OnProbe { get; set; }

    public AdapterCache Cache { get; }

    public FolderSource Source { get; }

    public InferenceEngine Engine { get; }

    public TransformerModel Transformer => _model.Transformer;

    public static async Task<EngineHost> StartAsync(EngineHostOptions? options = null)
    {
        EngineHost host = new(options ?? new EngineHostOptions());
        await host.Engine.StartAsync();
        return host;
    }

    public static AdapterId Id(string name) => new(name, new string(name[^1], 64));

    public static GenerationRequest Request(string prompt, int maxTokens = 24, params IReadOnlyList<AdapterReference> adapters) => new()
    {
        Prompt = new TextPrompt(prompt),
        Adapters = adapters,
        Sampling = new SamplingParameters { Temperature = 0 },
        Stopping = new StoppingCriteria { MaxTokens = maxTokens, IgnoreEos = true },
        Output = new OutputOptions(Logprobs: 2),
    };

    public async Task<Result> GenerateAsync(GenerationRequest request)
    {
        await using GenerationStream stream = await Engine.SubmitAsync(request).WaitAsync(Patience);
        return await ReadAsync(stream);
    }

    public static async Task<Result> ReadAsync(GenerationStream stream)
    {
        Result result = new();
        await foreach (GenerationChunk chunk in stream.ReadAllAsync())
        {
            Assert.Equal(FinishReason.None, result.FinishReason);
            result.Chunks++;
            result.Tokens.AddRange(chunk.TokenIds);
            result.Text += chunk.Text;
            result.Logprobs.AddRange(chunk.Logprobs.Select(one => one.Chosen.Logprob));
            result.FinishReason = chunk.FinishReason;
            result.StopReason = chunk.StopReason;
            result.Usage = chunk.Usage;
        }

        return result;
    }

    /// <summary>Only ever reached when something hangs.</summary>
    public static TimeSpan Patience { get; } = TimeSpan.FromSeconds(60);

    public async ValueTask DisposeAsync()
    {
        await Engine.DisposeAsync();

        // After every test: whatever happened, every lease has come back.
        Assert.All(Cache.Snapshot(), adapter => Assert.Equal(0, adapter.Leases));
        Cache.Dispose();
        _model.Dispose();
        Backend.Dispose();
    }

    private static HookedBackend CreateBackend(EngineHostOptions options)
    {
        CpuBackend machine = new(new CpuOptions { ThreadCount = 1, Products = options.Products });
        return options.DrawsByBackend ? new DrawingBackend(machine) : new HookedBackend(machine);
    }

    private static AdapterId Resolve(string name) =>
        Directory.Exists(Path.Combine(s_folder.Value, name)) ? Id(name) : throw new AdapterNotFoundException(name);

    private static string WriteFolders()
    {
        string root = Directory.CreateTempSubdirectory("engine-tests-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(root, recursive: true);
        TinyLlama model = new();
        model.Write(Path.Combine(root, "model"));
        string[][] targets = [["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], ["down_proj"], ["gate_proj", "o_proj"]];
        for (int i = 0; i < targets.Length; i++)
        {
            new TinyLora { Seed = 10 + i, Rank = 1 << (i + 1), Targets = targets[i] }.Write(Path.Combine(root, $"lora-{i}"), model);
        }

        new TinyRouter { Seed = 20, Ranks = [2, 0, 4], Targets = targets[1] }.Write(Path.Combine(root, "routed-5"), model);
        return root;
    }

    /// <summary>What a generation gave.</summary>
    public sealed class Result
    {
        public List<int> Tokens { get; } = [];

        public List<float> Logprobs { get; } = [];

        public string Text { get; set; } = "";

        public FinishReason FinishReason { get; set; }

        public string StopReason { get; set; } = "";

        public GenerationUsage? Usage { get; set; }

        public int Chunks { get; set; }

        /// <summary>Bit for bit.</summary>
        public void AssertSame(Result other)
        {
            Assert.Equal(other.Tokens, Tokens);
            Assert.Equal(other.Text, Text);
            Assert.Equal(other.Logprobs, Logprobs);
            Assert.Equal(other.FinishReason, FinishReason);
        }
    }

    /// <summary>Imports the adapters from their folders each time they are asked for.</summary>
    internal sealed class FolderSource(ModelShape shape) : IAdapterSource
    {
        public ConcurrentQueue<AdapterId> Loads { get; } = new();

        public Action<AdapterId, CancellationToken>? OnLoad { get; set; }

        public AdapterFootprint Measure(AdapterId id)
        {
            AdapterWeights weights = Import(id);
            return new AdapterFootprint(weights.ByteCount, weights.ByteCount);
        }

        public AdapterWeights Load(AdapterId id, CancellationToken cancellation)
        {
            OnLoad?.Invoke(id, cancellation);
            Loads.Enqueue(id);
            return Import(id);
        }

        private AdapterWeights Import(AdapterId id) => new PeftImporter(shape).Import(Path.Combine(s_folder.Value, id.Name), id.ToString()).Weights;
    }
}
