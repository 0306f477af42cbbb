using System.IO.Pipelines;
using System.Net;
using Grpc.Core;
using Grpc.Wire;

namespace Grpc.Net.Client;

/// <summary>One call on the client: sends the request messages, reads the responses, and ends with the server's status.</summary>
internal sealed partial class HttpClientCall<TRequest, TResponse>(
    Method<TRequest, TResponse> method, CallOptions options, GrpcChannelOptions channel)
    : IAsyncStreamReader<TResponse>, IClientStreamWriter<TRequest>, IDisposable
    where TRequest : class
    where TResponse : class
{
    /// <summary>A metadata key that is not sent: its value names the compression of the requests.</summary>
    private const string RequestEncodingKey = "grpc-internal-encoding-request";

    /// <summary>A timer holds some 49 days; a deadline beyond this is enforced by the server alone.</summary>
    private static readonly TimeSpan s_longestTimer = TimeSpan.FromDays(40);

    private readonly TaskCompletionSource<Metadata> _headers = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Holds no timer and no wait handle, so it needs no disposal; a late reader or writer may still ask it for its token.
    private readonly CancellationTokenSource _cancellation = new();
    private Task _sent = Task.CompletedTask;
    private CancellationTokenRegistration _callerRegistration;
    private ITimer? _deadlineTimer;
    private HttpResponseMessage? _response;
    private PipeReader? _responsePipe;
    private MessageReader? _reader;
    private TResponse? _current;
    private Task<TResponse>? _single;

    // Set once, by whoever sees the end first.
    private CallOutcome? _outcome;

    public Task<Metadata> ResponseHeaders => _headers.Task;

    public TResponse Current => _current ?? throw new InvalidOperationException("there is no current message");

    public Status GetStatus() => Ended().Status;

    public Metadata GetTrailers() => Ended().Trailers;

    public void Start(HttpMessageInvoker http, Uri address, TRequest? request)
    {
        _sent = SendAsync(http, address, request);

        // Nobody may be waiting for these when a call fails.
        Observe(_headers.Task);
        Observe(_sent);
    }

    public async Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _outcome) is { } ended)
        {
            _current = null;
            return ended.Status.StatusCode == StatusCode.OK ? false : throw ended.ToException();
        }

        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
            static call => ((HttpClientCall<TRequest, TResponse>)call!).Cancel(), this);
        try
        {
            await _sent.ConfigureAwait(false);
            _current = _reader is null
                ? null
                : await _reader.ReadAsync(method.ResponseMarshaller, _cancellation.Token).ConfigureAwait(false);
            if (_current is not null)
            {
                return true;
            }

            ended = End(CallOutcome.Read(_response!));
        }
        catch (Exception e)
        {
            _current = null;
            ended = End(CallOutcome.FromException(e));
        }

        if (_responsePipe is not null)
        {
            await _responsePipe.CompleteAsync().ConfigureAwait(false);
        }

        return ended.Status.StatusCode == StatusCode.OK ? false : throw ended.ToException();
    }

    /// <summary>Reads the one response of a call that does not stream them; asked for once.</summary>
    public Task<TResponse> ReadSingleAsync()
    {
        _single = ReadAsync();
        Observe(_single);
        return _single;

        async Task<TResponse> ReadAsync()
        {
            if (!await MoveNext(CancellationToken.None).ConfigureAwait(false))
            {
                throw Replace("the server sent no response message");
            }

            TResponse response = Current;
            return await MoveNext(CancellationToken.None).ConfigureAwait(false)
                ? throw Replace("the server sent more than one response message")
                : response;
        }
    }

    public void Dispose() => End(new CallOutcome(Status.DefaultCancelled, Metadata.Empty));

    private async Task SendAsync(HttpMessageInvoker http, Uri address, TRequest? request)
    {
        try
        {
            using HttpRequestMessage message = CreateMessage(address, request);
            StartDeadline(message);
            _callerRegistration = options.CancellationToken.UnsafeRegister(
                static call => ((HttpClientCall<TRequest, TResponse>)call!).Cancel(), this);
            _response = await http.SendAsync(message, _cancellation.Token).ConfigureAwait(false);
            if (Volatile.Read(ref _outcome) is { } early)
            {
                throw early.ToException();
            }

            if (CallOutcome.ReadForeign(_response) is { } foreign)
            {
                throw foreign.ToException();
            }

            _headers.TrySetResult(CallOutcome.ToMetadata(_response.Headers));
            if (!_response.Headers.Contains(GrpcHeaders.Status))
            {
                Stream stream = await _response.Content.ReadAsStreamAsync(_cancellation.Token).ConfigureAwait(false);
                _responsePipe = PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: 16 * 1024));
                string? encoding = CallOutcome.Header(_response.Headers, GrpcHeaders.Encoding);
                _reader = new MessageReader(_responsePipe, channel.MaxReceiveMessageSize, encoding);
            }
        }
        catch (Exception e)
        {
            RpcException failure = End(CallOutcome.FromException(e)).ToException();
            _response?.Dispose();
            _headers.TrySetException(failure);
            throw failure;
        }
    }

    private HttpRequestMessage CreateMessage(Uri address, TRequest? request)
    {
        HttpRequestMessage message = new(HttpMethod.Post, new Uri(address, method.FullName))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new PushContent(request is null ? PushAsync : (stream, _) => SendSingleAsync(stream, request)),
        };
        message.Headers.TryAddWithoutValidation("te", "trailers");
        message.Headers.TryAddWithoutValidation("user-agent", GrpcHeaders.UserAgent);
        message.Headers.TryAddWithoutValidation(GrpcHeaders.AcceptEncoding, GrpcHeaders.AcceptedEncodings);
        foreach (Metadata.Entry entry in options.Headers ?? Metadata.Empty)
        {
            if (entry.Key == RequestEncodingKey)
            {
                _gzip = entry.Value == GrpcHeaders.Gzip;
                message.Headers.Add(GrpcHeaders.Encoding, _gzip ? GrpcHeaders.Gzip : GrpcHeaders.Identity);
                continue;
            }

            message.Headers.TryAddWithoutValidation(entry.Key, WireMetadata.HeaderValue(entry));
        }

        return message;
    }

    private void StartDeadline(HttpRequestMessage message)
    {
        if (options.Deadline is not { } deadline || deadline == DateTime.MaxValue)
        {
            return;
        }

        TimeSpan left = deadline.ToUniversalTime() - DateTime.UtcNow;
        if (left <= TimeSpan.Zero)
        {
            throw DeadlineExceeded().ToException();
        }

        message.Headers.Add(GrpcHeaders.Timeout, GrpcTimeout.Format(left));
        if (left < s_longestTimer)
        {
            _deadlineTimer = TimeProvider.System.CreateTimer(
                static call => ((HttpClientCall<TRequest, TResponse>)call!).End(DeadlineExceeded()), this, left, Timeout.InfiniteTimeSpan);
        }
    }

    private static CallOutcome DeadlineExceeded() =>
        new(new Status(StatusCode.DeadlineExceeded, "the deadline has passed"), Metadata.Empty);

    private void Cancel() => End(new CallOutcome(new Status(StatusCode.Cancelled, "the call was cancelled"), Metadata.Empty));

    /// <summary>Keeps the first outcome, lets go of everything the call holds, and returns the outcome that counts.</summary>
    private CallOutcome End(CallOutcome outcome)
    {
        if (Interlocked.CompareExchange(ref _outcome, outcome, null) is { } first)
        {
            return first;
        }

        _deadlineTimer?.Dispose();
        _callerRegistration.Unregister();
        _requestPipe.TrySetCanceled();

        // Ends whatever is still under way: waiting for the server, reading its answer, sending requests that it no longer wants.
        _cancellation.Cancel();
        _response?.Dispose();
        return outcome;
    }

    /// <summary>The failure of a call whose server sent a wrong number of responses, also when its status was OK.</summary>
    private RpcException Replace(string detail)
    {
        CallOutcome wrong = new(new Status(StatusCode.Unimplemented, detail), Metadata.Empty);
        End(wrong);
        Volatile.Write(ref _outcome, wrong);
        return wrong.ToException();
    }

    private CallOutcome Ended() => Volatile.Read(ref _outcome) ?? throw new InvalidOperationException("the call has not ended");

    private static void Observe(Task task) =>
        task.ContinueWith(
            static t => t.Exception,
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
}
