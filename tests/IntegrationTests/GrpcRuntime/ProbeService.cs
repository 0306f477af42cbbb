using System.Collections.Concurrent;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>What the probe service saw, for a test to wait on.</summary>
public sealed class ProbeLog
{
    /// <summary>A wait that takes so long has failed.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<string, TaskCompletionSource> _started = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, TaskCompletionSource> _cancelled = new(StringComparer.Ordinal);

    /// <summary>Ends when a call of that text has reached its method.</summary>
    public Task Started(string text) => Entry(_started, text).Task.WaitAsync(s_limit);

    /// <summary>Ends when the method of a call of that text was cancelled.</summary>
    public Task Cancelled(string text) => Entry(_cancelled, text).Task.WaitAsync(s_limit);

    public void Start(string text) => Entry(_started, text).TrySetResult();

    public void Cancel(string text) => Entry(_cancelled, text).TrySetResult();

    private static TaskCompletionSource Entry(ConcurrentDictionary<string, TaskCompletionSource> entries, string text) =>
        entries.GetOrAdd(text, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
}

/// <summary>Answers as its requests ask for.</summary>
public sealed class ProbeService(ProbeLog log) : Probe.ProbeBase
{
    public static readonly byte[] DetailBytes = [0, 1, 2, 255];

    /// <summary>Throws an exception that is no RpcException, with a message that must not leave the server.</summary>
    public const int SecretFailCode = 99;

    public override async Task<ProbeReply> Unary(ProbeRequest request, ServerCallContext context)
    {
        if (request.HasFailCode)
        {
            if (request.FailCode == SecretFailCode)
            {
                throw new InvalidOperationException("secret");
            }

            Metadata trailers = new() { { "x-trailer", "t1" }, { "x-detail-bin", DetailBytes }, { "grpc-status-details-bin", [8, 9] } };
            throw new RpcException(new Status((StatusCode)request.FailCode, request.Text), trailers);
        }

        if (request.Headers)
        {
            byte[] echo = context.RequestHeaders.GetValueBytes("x-in-bin") ?? [];
            await context.WriteResponseHeadersAsync(new Metadata { { "x-header", "h1" }, { "x-echo-bin", echo } });
            context.ResponseTrailers.Add("x-trailer", context.RequestHeaders.GetValue("x-in") ?? "none");
        }

        return new ProbeReply
        {
            Text = $"hello {request.Text}",
            N = request.Count,
            Note = $"{request.Blob.Length} bytes from {context.Peer}",
            Blob = ByteString.CopyFrom(new byte[request.ReplySize]),
        };
    }

    public override async Task ServerStream(ProbeRequest request, IServerStreamWriter<ProbeReply> responseStream, ServerCallContext context)
    {
        log.Start(request.Text);
        try
        {
            ByteString blob = ByteString.CopyFrom(new byte[request.ReplySize]);
            for (int i = 0; i < request.Count; i++)
            {
                await responseStream.WriteAsync(new ProbeReply { Text = request.Text, N = i, Blob = blob }, context.CancellationToken);
            }

            if (request.HasFailCode)
            {
                throw new RpcException(new Status((StatusCode)request.FailCode, "mid-stream: ünï%"));
            }
        }
        catch (OperationCanceledException)
        {
            log.Cancel(request.Text);
            throw;
        }
    }

    public override async Task<ProbeReply> ClientStream(IAsyncStreamReader<ProbeRequest> requestStream, ServerCallContext context)
    {
        long count = 0;
        long bytes = 0;
        await foreach (ProbeRequest request in requestStream.ReadAllAsync(context.CancellationToken))
        {
            count++;
            bytes += request.Blob.Length;
            if (request.HasFailCode)
            {
                throw new RpcException(new Status((StatusCode)request.FailCode, "no more"));
            }
        }

        return new ProbeReply { N = count, Text = $"{bytes}" };
    }

    public override async Task Duplex(
        IAsyncStreamReader<ProbeRequest> requestStream, IServerStreamWriter<ProbeReply> responseStream, ServerCallContext context)
    {
        await foreach (ProbeRequest request in requestStream.ReadAllAsync(context.CancellationToken))
        {
            await responseStream.WriteAsync(new ProbeReply { Text = request.Text, N = request.Count }, context.CancellationToken);
        }
    }

    public override Task<Empty> Nothing(Empty request, ServerCallContext context) => Task.FromResult(new Empty());

    public override async Task<ProbeReply> Wait(ProbeRequest request, ServerCallContext context)
    {
        log.Start(request.Text);
        try
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, context.CancellationToken);
            return new ProbeReply();
        }
        catch (OperationCanceledException)
        {
            log.Cancel(request.Text);
            throw;
        }
    }
}
