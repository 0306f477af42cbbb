using System.Runtime.CompilerServices;
using System.Text;
using Grpc.Core;
using Grpc.Net.Client;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <summary>
/// A client of one server: text generation with any adapter, (<see cref="Adapters"/>) the adapters themselves, and
/// (<see cref="Training"/>) their training. Thread-safe; keep one and share it, its calls share one connection. A refused or failed call throws <see cref="InferenceException"/>; a cancelled one
/// <see cref="OperationCanceledException"/>.
/// </summary>
public sealed class InferenceClient : IDisposable
{
    private readonly InferenceClientOptions _options;
    private readonly GrpcChannel _channel;
    private readonly GenerationService.GenerationServiceClient _generation;
    private readonly ServerService.ServerServiceClient _server;

    public InferenceClient(InferenceClientOptions? options = null)
    {
        _options = options ?? new InferenceClientOptions();
        _channel = GrpcChannel.ForAddress(_options.Address, new GrpcChannelOptions
        {
            HttpHandler = _options.HttpHandler,
            MaxReceiveMessageSize = _options.MaxReceiveMessageBytes,
        });
        _generation = new GenerationService.GenerationServiceClient(_channel);
        _server = new ServerService.ServerServiceClient(_channel);
        Adapters = new AdapterClient(new AdapterService.AdapterServiceClient(_channel), _options.Timeout);
        Training = new TrainingClient(new TrainingService.TrainingServiceClient(_channel), _options);
    }

    /// <summary>A client of the server at <paramref name="address"/>, for example http://127.0.0.1:5100.</summary>
    public InferenceClient(string address)
        : this(new InferenceClientOptions { Address = new Uri(address) })
    {
    }

    /// <summary>Upload, look at, place, merge and remove adapters.</summary>
    public AdapterClient Adapters { get; }

    /// <summary>Train adapters on the server: start, watch and administer jobs.</summary>
    public TrainingClient Training { get; }

    /// <summary>
    /// Streams a generation as the server sends it: the first message has <see cref="GenerateResponse.Started"/>, the last one
    /// <see cref="GenerateResponse.FinishReason"/> and <see cref="GenerateResponse.Usage"/>. Leaving the loop early stops the generation.
    /// </summary>
    /// <param name="request">What to generate.</param>
    /// <param name="timeout">The request's deadline, counted from now; null for none.</param>
    /// <param name="cancellationToken">Stops the generation.</param>
    /// <exception cref="InferenceException">The server refused or failed the request.</exception>
    public async IAsyncEnumerable<GenerateResponse> GenerateAsync(
        GenerateRequest request, TimeSpan? timeout = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        DateTime? deadline = timeout is { } limit ? DateTime.UtcNow + limit : null;
        using AsyncServerStreamingCall<GenerateResponse> call = _generation.Generate(request, headers: null, deadline, cancellationToken);
        while (await MoveNextAsync(call.ResponseStream, cancellationToken).ConfigureAwait(false))
        {
            yield return call.ResponseStream.Current;
        }
    }

    /// <summary>
    /// Continues <paramref name="prompt"/>, streamed as <see cref="GenerateAsync(GenerateRequest, TimeSpan?, CancellationToken)"/> does.
    /// </summary>
    /// <exception cref="InferenceException">The server refused or failed the request.</exception>
    public IAsyncEnumerable<GenerateResponse> GenerateAsync(
        string prompt, GenerationSettings? settings = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        GenerationSettings used = settings ?? new GenerationSettings();
        GenerateRequest request = used.ToRequest();
        request.Text = prompt;
        return GenerateAsync(request, used.Timeout, cancellationToken);
    }

    /// <summary>Continues <paramref name="prompt"/> and returns when it is done.</summary>
    /// <exception cref="InferenceException">The server refused or failed the request.</exception>
    public Task<GenerationResult> GenerateTextAsync(
        string prompt, GenerationSettings? settings = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        GenerationSettings used = settings ?? new GenerationSettings();
        GenerateRequest request = used.ToRequest();
        request.Text = prompt;
        return CollectAsync(request, used.Timeout, cancellationToken);
    }

    /// <summary>
    /// Answers the last of <paramref name="messages"/>, rendered by the model's chat template, and returns when it is done.
    /// </summary>
    /// <exception cref="InferenceException">The server refused or failed the request.</exception>
    public Task<GenerationResult> ChatAsync(
        IEnumerable<ChatMessage> messages, GenerationSettings? settings = null, CancellationToken cancellationToken = default)
    {
        GenerationSettings used = settings ?? new GenerationSettings();
        return CollectAsync(ChatRequest(messages, used), used.Timeout, cancellationToken);
    }

    /// <summary>As <see cref="ChatAsync"/>, streamed.</summary>
    /// <exception cref="InferenceException">The server refused or failed the request.</exception>
    public IAsyncEnumerable<GenerateResponse> ChatStreamAsync(
        IEnumerable<ChatMessage> messages, GenerationSettings? settings = null, CancellationToken cancellationToken = default)
    {
        GenerationSettings used = settings ?? new GenerationSettings();
        return GenerateAsync(ChatRequest(messages, used), used.Timeout, cancellationToken);
    }

    /// <summary>What the server is and how it stands.</summary>
    /// <exception cref="InferenceException">The server could not be reached.</exception>
    public async Task<ServerInfo> GetInfoAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            using AsyncUnaryCall<ServerInfo> call = _server.GetInfoAsync(
                new GetInfoRequest(), headers: null, DateTime.UtcNow + _options.Timeout, cancellationToken);
            return await call.ResponseAsync.ConfigureAwait(false);
        }
        catch (RpcException error)
        {
            throw CallErrors.Translate(error, cancellationToken);
        }
    }

    /// <summary>Closes the connection; running calls fail.</summary>
    public void Dispose()
    {
        _channel.Dispose();
    }

    private static GenerateRequest ChatRequest(IEnumerable<ChatMessage> messages, GenerationSettings settings)
    {
        ArgumentNullException.ThrowIfNull(messages);
        GenerateRequest request = settings.ToRequest();
        request.Chat = new ChatPrompt();
        request.Chat.Messages.Add(messages);
        return request;
    }

    private static async Task<bool> MoveNextAsync(IAsyncStreamReader<GenerateResponse> stream, CancellationToken cancellationToken)
    {
        try
        {
            return await stream.MoveNext(cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException error)
        {
            throw CallErrors.Translate(error, cancellationToken);
        }
    }

    private async Task<GenerationResult> CollectAsync(GenerateRequest request, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        StringBuilder text = new();
        List<int> tokenIds = [];
        List<TokenLogprobs> logprobs = [];
        GenerationStarted started = new();
        GenerateResponse last = new();
        await foreach (GenerateResponse message in GenerateAsync(request, timeout, cancellationToken).ConfigureAwait(false))
        {
            text.Append(message.Text);
            tokenIds.AddRange(message.TokenIds);
            logprobs.AddRange(message.Logprobs);
            started = message.Started ?? started;
            last = message;
        }

        return new GenerationResult
        {
            Text = text.ToString(),
            TokenIds = tokenIds,
            Logprobs = logprobs,
            Started = started,
            FinishReason = last.FinishReason,
            StopReason = last.StopReason,
            Usage = last.Usage ?? new Usage(),
        };
    }
}
