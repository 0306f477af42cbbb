using System.Diagnostics;
using System.Globalization;
using InferenceServer.Client;
using InferenceServer.Engine;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Server.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Benchmarks.Peers;

/// <summary>
/// The server in this process. Single streams and batches go straight into its engine, as llama-bench goes into libllama; tenants come
/// through the client and the port, as llama-server's do.
/// </summary>
internal sealed class OurSide : IAsyncDisposable
{
    private readonly InferenceServerHost _host;
    private readonly InferenceEngine _engine;
    private readonly InferenceClient _client;
    private readonly DirectoryInfo _data;
    private readonly int _vocabularySize;
    private readonly int _stepTokens;
    private readonly Random _random = new(17);

    private OurSide(InferenceServerHost host, DirectoryInfo data)
    {
        _host = host;
        _data = data;
        _engine = host.Services.GetRequiredService<InferenceEngine>();
        _client = new InferenceClient(host.GrpcAddress.ToString());
        TransformerModel transformer = host.Services.GetRequiredService<LanguageModel>().Transformer;
        _vocabularySize = transformer.Config.VocabularySize;
        _stepTokens = host.Services.GetRequiredService<IOptions<SchedulerOptions>>().Value.MaxBatchTokens;

        // Of an embedding that is not the output head too, a step reads a row for each token; it is bf16 in all formats measured here.
        long embedding = transformer.Config.TiedEmbeddings == true ? 0 : 2L * transformer.Config.VocabularySize * transformer.Config.HiddenSize;
        BytesPerToken = transformer.WeightBytes - embedding;
    }

    /// <summary>Bytes of weights that a step of one token reads.</summary>
    public long BytesPerToken { get; }

    /// <summary>Loads the model.</summary>
    /// <param name="modelFolder">In Hugging Face's layout.</param>
    /// <param name="weights">A value of the server's --weights.</param>
    /// <param name="threads">Threads that compute.</param>
    /// <param name="packed">Folder for packed weights, so that only the first run packs them.</param>
    /// <param name="more">Further options of the server's command line.</param>
    public static async Task<OurSide> StartAsync(string modelFolder, string weights, int threads, string packed, IReadOnlyList<string> more)
    {
        DirectoryInfo data = Directory.CreateTempSubdirectory("inferenceserver-peers-");
        InferenceServerHost host = InferenceServerHost.Build(
        [
            "--model", modelFolder, "--data", data.FullName, "--grpc", "http://127.0.0.1:0", "--http", ServerOptions.None,
            "--device", "cpu", "--weights", weights, "--threads", threads.ToString(CultureInfo.InvariantCulture), "--log-level", "none",
            "--packed-cache", packed, .. more,
        ]);
        await host.StartAsync();
        await host.Ready;
        return new OurSide(host, data);
    }

    /// <summary>What computes, in the backend's words.</summary>
    public async Task<string> DescribeAsync() => (await _client.GetInfoAsync()).Device;

    public Task UploadAsync(string name, string folder) => _client.Adapters.UploadFolderAsync(name, folder);

    /// <summary>Tokens per second of a prompt, from its arrival to the first token after it.</summary>
    public async Task<double> PrefillAsync(int promptTokens)
    {
        await using GenerationStream stream = await _engine.SubmitAsync(Request(promptTokens, newTokens: 1, adapter: ""));
        return promptTokens / (await UsageAsync(stream)).TimeToFirstToken.TotalSeconds;
    }

    /// <summary>Tokens per second of all sequences together, from their first token to their last.</summary>
    /// <param name="adapters">The adapter of each sequence; empty for the base.</param>
    /// <param name="promptTokens">Tokens before the first one that counts.</param>
    /// <param name="newTokens">Tokens of each sequence that count.</param>
    public async Task<double> DecodeAsync(IReadOnlyList<string> adapters, int promptTokens, int newTokens)
    {
        // This one fills a step alone, whether the others arrive before it begins or while it runs; so all of them start in the next one and stay in step.
        await using GenerationStream first = await _engine.SubmitAsync(Request(_stepTokens, newTokens: 1, adapter: ""));
        GenerationStream[] streams = new GenerationStream[adapters.Count];
        for (int i = 0; i < streams.Length; i++)
        {
            streams[i] = await _engine.SubmitAsync(Request(promptTokens, newTokens + 1, adapters[i]));
        }

        double slowest = 0;
        foreach (GenerationStream stream in streams)
        {
            GenerationUsage usage = await UsageAsync(stream);
            slowest = Math.Max(slowest, (usage.TotalTime - usage.TimeToFirstToken).TotalSeconds);
            await stream.DisposeAsync();
        }

        return (double)adapters.Count * newTokens / slowest;
    }

    /// <summary>Tokens per second that clients see of requests sent at once, their prompts included.</summary>
    /// <param name="adapters">The adapter of each request; empty for the base.</param>
    /// <param name="promptTokens">Tokens of each prompt.</param>
    /// <param name="newTokens">Tokens that each request generates.</param>
    public async Task<double> ServeAsync(IReadOnlyList<string> adapters, int promptTokens, int newTokens)
    {
        V1.GenerateRequest[] requests = [.. adapters.Select((adapter, number) => new V1.GenerateRequest
        {
            Adapter = adapter,
            TokenIds = new V1.TokenIds { Ids = { Prompt(promptTokens) } },
            Sampling = new V1.SamplingParameters { Temperature = 0 },
            Stopping = new V1.StoppingCriteria { MaxTokens = newTokens, IgnoreEos = true },
        })];
        long start = Stopwatch.GetTimestamp();
        int[] tokens = await Task.WhenAll(requests.Select(CountAsync));
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return tokens.All(count => count == newTokens)
            ? tokens.Sum() / seconds
            : throw new InvalidOperationException($"asked for {newTokens} tokens each, got {string.Join(", ", tokens)}");
    }

    /// <summary>The most probable tokens after a prompt.</summary>
    public async Task<int[]> GreedyAsync(string adapter, int[] prompt, int newTokens)
    {
        GenerationRequest request = Request(promptTokens: 1, newTokens, adapter) with { Prompt = new TokenPrompt(prompt) };
        await using GenerationStream stream = await _engine.SubmitAsync(request);
        List<int> tokens = [];
        await foreach (GenerationChunk chunk in stream.ReadAllAsync())
        {
            tokens.AddRange(chunk.TokenIds);
        }

        return [.. tokens];
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _host.StopAsync();
        await _host.DisposeAsync();
        _data.Delete(recursive: true);
    }

    private static async Task<GenerationUsage> UsageAsync(GenerationStream stream)
    {
        // Read only when all is over: nobody but the engine works meanwhile.
        await stream.Completion;
        GenerationUsage? usage = null;
        await foreach (GenerationChunk chunk in stream.ReadAllAsync())
        {
            usage = chunk.Usage;
        }

        return usage!;
    }

    private async Task<int> CountAsync(V1.GenerateRequest request)
    {
        await Task.Yield();
        int tokens = 0;
        await foreach (V1.GenerateResponse message in _client.GenerateAsync(request))
        {
            tokens += message.TokenIds.Count;
        }

        return tokens;
    }

    private GenerationRequest Request(int promptTokens, int newTokens, string adapter) => new()
    {
        Prompt = new TokenPrompt(Prompt(promptTokens)),
        Adapters = adapter.Length == 0 ? [] : [new AdapterReference(adapter)],
        Sampling = new SamplingParameters { Temperature = 0 },
        Stopping = new StoppingCriteria { MaxTokens = newTokens, IgnoreEos = true },
        Output = new OutputOptions(OmitText: true),
    };

    /// <summary>New random tokens each time, so that no prefix is found again.</summary>
    private int[] Prompt(int count) => [.. Enumerable.Range(0, count).Select(_ => _random.Next(_vocabularySize))];
}
