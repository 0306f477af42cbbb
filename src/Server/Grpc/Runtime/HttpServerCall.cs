using System.Globalization;
using System.IO.Pipelines;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Wire;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace Grpc.AspNetCore.Server;

/// <summary>One call on the server, from its HTTP request to the status in the response's trailers.</summary>
internal sealed class HttpServerCall : ServerCallContext
{
    /// <summary>A timer holds some 49 days; a deadline beyond this is none.</summary>
    private static readonly TimeSpan s_longestTimer = TimeSpan.FromDays(40);

    private readonly IMethod _method;
    private readonly GrpcServiceOptions _options;
    private readonly PipeWriter _output;
    private readonly CallCancellation _cancellation;
    private DateTime _deadline = DateTime.MaxValue;
    private Metadata? _requestHeaders;
    private Metadata? _responseTrailers;
    private MessageReader? _reader;
    private MessageWriter? _writer;
    private bool _responseBegun;
    private bool _ended;

    private HttpServerCall(HttpContext http, IMethod method, GrpcServiceOptions options, CallCancellation cancellation)
    {
        HttpContext = http;
        _method = method;
        _options = options;
        _output = http.Response.BodyWriter;
        _cancellation = cancellation;
    }

    public HttpContext HttpContext { get; }

    protected override string MethodCore => _method.FullName;

    protected override string HostCore => HttpContext.Request.Host.Value ?? "";

    protected override string PeerCore => HttpContext.Connection switch
    {
        { RemoteIpAddress: { AddressFamily: AddressFamily.InterNetworkV6 } ip, RemotePort: int port } => $"ipv6:[{ip}]:{port}",
        { RemoteIpAddress: { } ip, RemotePort: int port } => $"ipv4:{ip}:{port}",
        _ => "unknown",
    };

    protected override DateTime DeadlineCore => _deadline;

    protected override Metadata RequestHeadersCore => _requestHeaders ??= ReadRequestHeaders();

    protected override CancellationToken CancellationTokenCore => _cancellation.Token;

    protected override Metadata ResponseTrailersCore => _responseTrailers ??= [];

    protected override Status StatusCore { get; set; } = Status.DefaultSuccess;

    protected override WriteOptions? WriteOptionsCore { get; set; }

    /// <summary>Serves one HTTP request as a call of <paramref name="method"/>.</summary>
    public static async Task RunAsync(
        HttpContext http, IMethod method, GrpcServiceOptions options, ILogger logger, Func<HttpServerCall, Task> body)
    {
        if (!GrpcHttp.TryPrepare(http))
        {
            return;
        }

        using CallCancellation cancellation = new(http.RequestAborted, http.RequestServices.GetRequiredService<GrpcShutdown>().Token);
        HttpServerCall call = new(http, method, options, cancellation);
        http.Features.Set<ServerCallContext>(call);
        try
        {
            call.Begin();
            await body(call);
            call.Status = call.Overruled(call.Status);
        }
        catch (Exception e)
        {
            call.Status = call.StatusOf(e, logger);
        }

        call.End();
    }

    /// <summary>Reads the one request of a call that does not stream them.</summary>
    public async Task<TRequest> ReadSingleAsync<TRequest>(Marshaller<TRequest> marshaller)
        where TRequest : class
    {
        TRequest? request = await ReadAsync(marshaller, CancellationToken.None);
        if (request is null || await ReadAsync(marshaller, CancellationToken.None) is not null)
        {
            throw new RpcException(new Status(StatusCode.Unimplemented, $"{_method.FullName} takes exactly one request message"));
        }

        return request;
    }

    /// <summary>Reads the next request, or null at the end of the stream.</summary>
    public async ValueTask<TRequest?> ReadAsync<TRequest>(Marshaller<TRequest> marshaller, CancellationToken cancellationToken)
        where TRequest : class
    {
        using CancellationTokenSource? linked = Link(cancellationToken);
        try
        {
            return await _reader!.ReadAsync(marshaller, linked?.Token ?? _cancellation.Token);
        }
        catch (Exception e) when (e is ConnectionAbortedException or IOException and not BadHttpRequestException)
        {
            // A body that breaks off tells of a reset before the request is aborted.
            _cancellation.ClientGone();
            throw new OperationCanceledException("the client has gone", e);
        }
    }

    /// <summary>Writes a response; without the flush it leaves with the next one that is flushed, or with the status.</summary>
    public async ValueTask WriteAsync<TResponse>(
        Marshaller<TResponse> marshaller, TResponse message, WriteFlags flags, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (_ended)
        {
            throw new InvalidOperationException($"{_method.FullName} has ended; nothing more can be written");
        }

        _cancellation.Token.ThrowIfCancellationRequested();
        _writer!.Write(marshaller, message, flags);
        _responseBegun = true;
        if (flags.HasFlag(WriteFlags.BufferHint))
        {
            return;
        }

        using CancellationTokenSource? linked = Link(cancellationToken);
        FlushResult result = await _output.FlushAsync(linked?.Token ?? _cancellation.Token);
        if (result.IsCompleted)
        {
            // A client that goes away may show here before the request is aborted.
            _cancellation.ClientGone();
            throw new OperationCanceledException("the client has gone");
        }
    }

    protected override async Task WriteResponseHeadersAsyncCore(Metadata responseHeaders)
    {
        if (_responseBegun)
        {
            throw new InvalidOperationException("the response headers are sent already");
        }

        Append(HttpContext.Response.Headers, responseHeaders);
        _responseBegun = true;
        await _output.FlushAsync(_cancellation.Token);
    }

    private void Begin()
    {
        IHeaderDictionary headers = HttpContext.Request.Headers;
        if (headers.GrpcTimeout is { Count: > 0 } timeoutHeader)
        {
            if (!GrpcTimeout.TryParse(timeoutHeader.ToString(), out TimeSpan timeout))
            {
                throw new RpcException(new Status(StatusCode.Internal, $"the {GrpcHeaders.Timeout} '{timeoutHeader}' is not valid"));
            }

            StartDeadline(timeout);
        }

        string? encoding = headers.GrpcEncoding;
        if (encoding is not (null or "" or GrpcHeaders.Identity or GrpcHeaders.Gzip))
        {
            throw new RpcException(new Status(
                StatusCode.Unimplemented, $"the message encoding '{encoding}' is not one of {GrpcHeaders.AcceptedEncodings}"));
        }

        bool gzip = _options.ResponseCompressionAlgorithm == GrpcHeaders.Gzip
            && headers.GrpcAcceptEncoding.ToString().Split(',', StringSplitOptions.TrimEntries).Contains(GrpcHeaders.Gzip);
        if (gzip)
        {
            HttpContext.Response.Headers.GrpcEncoding = GrpcHeaders.Gzip;
        }

        _reader = new MessageReader(HttpContext.Request.BodyReader, _options.MaxReceiveMessageSize, encoding);
        _writer = new MessageWriter(_output, _options.MaxSendMessageSize, gzip);
    }

    private void StartDeadline(TimeSpan timeout)
    {
        if (timeout <= TimeSpan.Zero)
        {
            throw new RpcException(new Status(StatusCode.DeadlineExceeded, "the deadline has passed"));
        }

        if (timeout < s_longestTimer)
        {
            TimeProvider time = HttpContext.RequestServices.GetRequiredService<TimeProvider>();
            _deadline = time.GetUtcNow().UtcDateTime + timeout;
            _cancellation.CancelAfter(timeout, time);
        }
    }

    /// <summary>Joins a method's own token with the call's; methods mostly pass the call's, which needs no joining.</summary>
    private CancellationTokenSource? Link(CancellationToken cancellationToken) =>
        cancellationToken.CanBeCanceled && cancellationToken != _cancellation.Token
            ? CancellationTokenSource.CreateLinkedTokenSource(_cancellation.Token, cancellationToken)
            : null;

    /// <summary>A deadline that has passed counts more than what the method answered after it.</summary>
    private Status Overruled(Status status) =>
        _cancellation.Status is { StatusCode: StatusCode.DeadlineExceeded } deadline ? deadline : status;

    private Status StatusOf(Exception exception, ILogger logger)
    {
        switch (exception)
        {
            case OperationCanceledException or IOException when _cancellation.Status is { } cancelled:
                return cancelled;
            case RpcException rpc:
                foreach (Metadata.Entry entry in rpc.Trailers)
                {
                    ResponseTrailers.Add(entry);
                }

                return Overruled(rpc.Status);
            default:
                logger.MethodFailed(exception, _method.FullName);
                return Overruled(new Status(
                    StatusCode.Unknown,
                    _options.EnableDetailedErrors is true
                        ? $"{exception.GetType().Name}: {exception.Message}"
                        : "the method failed on the server"));
        }
    }

    /// <summary>Sends the status: in the trailers, or in the headers if nothing was sent before (a trailers-only response).</summary>
    private void End()
    {
        _ended = true;
        if (HttpContext.RequestAborted.IsCancellationRequested)
        {
            return;
        }

        IHeaderDictionary target = _responseBegun
            ? HttpContext.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers
            : HttpContext.Response.Headers;
        target.GrpcStatus = ((int)Status.StatusCode).ToString(CultureInfo.InvariantCulture);
        if (!string.IsNullOrEmpty(Status.Detail))
        {
            target.GrpcMessage = PercentEncoding.Encode(Status.Detail);
        }

        if (_responseTrailers is not null)
        {
            Append(target, _responseTrailers);
        }
    }

    private Metadata ReadRequestHeaders()
    {
        Metadata metadata = [];
        foreach ((string name, StringValues values) in HttpContext.Request.Headers)
        {
            foreach (string? value in values)
            {
                WireMetadata.AddTo(metadata, name, value);
            }
        }

        return metadata;
    }

    private static void Append(IHeaderDictionary headers, Metadata metadata)
    {
        foreach (Metadata.Entry entry in metadata)
        {
            headers.Append(entry.Key, WireMetadata.HeaderValue(entry));
        }
    }
}
