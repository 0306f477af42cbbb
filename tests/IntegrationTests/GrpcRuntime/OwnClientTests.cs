using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Net.Client;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;
using Xunit;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>Our client against our server: messages, metadata and statuses of the four kinds of call.</summary>
public sealed class OwnClientTests(ProbeServerFixture fixture) : IClassFixture<ProbeServerFixture>
{
    private readonly Probe.ProbeClient _client = fixture.Server.Client;

    [Fact]
    public async Task A_unary_call_gets_its_response()
    {
        ProbeReply reply = await _client.UnaryAsync(new ProbeRequest { Text = "wörld", Count = 3 });

        Assert.Equal("hello wörld", reply.Text);
        Assert.Equal(3, reply.N);
        Assert.StartsWith("0 bytes from ipv4:127.0.0.1:", reply.Note, StringComparison.Ordinal);
    }

    [Fact]
    public void A_blocking_unary_call_gets_its_response()
    {
        Assert.Equal("hello b", _client.Unary(new ProbeRequest { Text = "b" }).Text);
    }

    [Fact]
    public async Task Headers_trailers_and_binary_metadata_go_both_ways()
    {
        Metadata headers = new() { { "x-in", "v" }, { "x-in-bin", [0, 255, 7] } };

        using AsyncUnaryCall<ProbeReply> call = _client.UnaryAsync(new ProbeRequest { Headers = true }, headers);
        await call;
        Metadata received = await call.ResponseHeadersAsync;

        Assert.Equal("h1", received.GetValue("x-header"));
        Assert.Equal([0, 255, 7], received.GetValueBytes("x-echo-bin"));
        Assert.Equal("v", call.GetTrailers().GetValue("x-trailer"));
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
    }

    [Fact]
    public async Task A_failure_carries_its_message_and_its_trailers()
    {
        RpcException failure = await FailureOf(_client.UnaryAsync(new ProbeRequest { FailCode = 9, Text = "ünï 100%\n" }).ResponseAsync);

        Assert.Equal(StatusCode.FailedPrecondition, failure.StatusCode);
        Assert.Equal("ünï 100%\n", failure.Status.Detail);
        Assert.Equal("t1", failure.Trailers.GetValue("x-trailer"));
        Assert.Equal(ProbeService.DetailBytes, failure.Trailers.GetValueBytes("x-detail-bin"));
        Assert.Equal([8, 9], failure.Trailers.GetValueBytes("grpc-status-details-bin"));
    }

    [Fact]
    public async Task An_exception_of_the_method_becomes_UNKNOWN_without_its_message()
    {
        RpcException failure = await FailureOf(
            _client.UnaryAsync(new ProbeRequest { FailCode = ProbeService.SecretFailCode }).ResponseAsync);

        Assert.Equal(StatusCode.Unknown, failure.StatusCode);
        Assert.Equal("the method failed on the server", failure.Status.Detail);
    }

    [Fact]
    public async Task An_exception_of_the_method_is_told_where_the_options_say_so()
    {
        await using ProbeServer server = await ProbeServer.StartAsync(options => options.EnableDetailedErrors = true);

        RpcException failure = await FailureOf(
            server.Client.UnaryAsync(new ProbeRequest { FailCode = ProbeService.SecretFailCode }).ResponseAsync);

        Assert.Equal("InvalidOperationException: secret", failure.Status.Detail);
    }

    [Fact]
    public async Task A_method_that_is_not_overridden_is_UNIMPLEMENTED()
    {
        RpcException failure = await FailureOf(_client.NotWrittenAsync(new ProbeRequest()).ResponseAsync);

        Assert.Equal(StatusCode.Unimplemented, failure.StatusCode);
    }

    [Fact]
    public async Task An_unmapped_method_is_UNIMPLEMENTED_and_named()
    {
        Marshaller<byte[]> bytes = Marshallers.Create(b => b, b => b);
        Method<byte[], byte[]> absent = new(MethodType.Unary, "no.Service", "Absent", bytes, bytes);

        RpcException failure = await FailureOf(
            fixture.Server.Channel.CreateCallInvoker().AsyncUnaryCall(absent, null, default, []).ResponseAsync);

        Assert.Equal(StatusCode.Unimplemented, failure.StatusCode);
        Assert.Equal("there is no method /no.Service/Absent", failure.Status.Detail);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1000)]
    public async Task A_server_stream_gives_every_message_in_order(int count)
    {
        using AsyncServerStreamingCall<ProbeReply> call = _client.ServerStream(new ProbeRequest { Text = "s", Count = count });
        List<long> numbers = [];
        await foreach (ProbeReply reply in call.ResponseStream.ReadAllAsync())
        {
            numbers.Add(reply.N);
        }

        Assert.Equal(Enumerable.Range(0, count).Select(i => (long)i), numbers);
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        Assert.False(await call.ResponseStream.MoveNext());
    }

    [Fact]
    public async Task A_server_stream_that_fails_gives_its_messages_first()
    {
        using AsyncServerStreamingCall<ProbeReply> call = _client.ServerStream(new ProbeRequest { Count = 3, FailCode = 13 });
        int count = 0;

        RpcException failure = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            await foreach (ProbeReply reply in call.ResponseStream.ReadAllAsync())
            {
                count++;
            }
        });

        Assert.Equal(3, count);
        Assert.Equal(StatusCode.Internal, failure.StatusCode);
        Assert.Equal("mid-stream: ünï%", failure.Status.Detail);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100)]
    public async Task A_client_stream_is_read_to_its_end(int count)
    {
        using AsyncClientStreamingCall<ProbeRequest, ProbeReply> call = _client.ClientStream();
        for (int i = 0; i < count; i++)
        {
            await call.RequestStream.WriteAsync(new ProbeRequest { Blob = ByteString.CopyFrom(new byte[1000]) });
        }

        await call.RequestStream.CompleteAsync();
        ProbeReply reply = await call;

        Assert.Equal(count, reply.N);
        Assert.Equal($"{count * 1000}", reply.Text);
    }

    [Fact]
    public async Task Buffered_requests_leave_with_the_end_of_the_stream()
    {
        using AsyncClientStreamingCall<ProbeRequest, ProbeReply> call = _client.ClientStream();
        call.RequestStream.WriteOptions = new WriteOptions(WriteFlags.BufferHint);
        for (int i = 0; i < 5; i++)
        {
            await call.RequestStream.WriteAsync(new ProbeRequest { Blob = ByteString.CopyFrom(new byte[10]) });
        }

        await call.RequestStream.CompleteAsync();

        Assert.Equal("50", (await call).Text);
    }

    [Fact]
    public async Task A_client_stream_that_the_server_ends_early_says_why_to_the_writer_too()
    {
        using AsyncClientStreamingCall<ProbeRequest, ProbeReply> call = _client.ClientStream();

        // The server may end the call before this write is done: then it says so too.
        await Record.ExceptionAsync(() => call.RequestStream.WriteAsync(new ProbeRequest { FailCode = 8 }));
        RpcException ended = await FailureOf(call.ResponseAsync);

        RpcException refused = await FailureOf(call.RequestStream.WriteAsync(new ProbeRequest()));

        Assert.Equal((StatusCode.ResourceExhausted, "no more"), (ended.StatusCode, ended.Status.Detail));
        Assert.Equal((StatusCode.ResourceExhausted, "no more"), (refused.StatusCode, refused.Status.Detail));
    }

    [Fact]
    public async Task A_duplex_stream_answers_each_request_before_the_next()
    {
        using AsyncDuplexStreamingCall<ProbeRequest, ProbeReply> call = _client.Duplex();
        for (int i = 0; i < 50; i++)
        {
            await call.RequestStream.WriteAsync(new ProbeRequest { Count = i });
            Assert.True(await call.ResponseStream.MoveNext());
            Assert.Equal(i, call.ResponseStream.Current.N);
        }

        await call.RequestStream.CompleteAsync();

        Assert.False(await call.ResponseStream.MoveNext());
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
    }

    [Fact]
    public async Task Empty_messages_pass()
    {
        Assert.Equal(new Empty(), await _client.NothingAsync(new Empty()));
    }

    [Fact]
    public async Task Calls_in_parallel_do_not_mix()
    {
        string[] texts = await Task.WhenAll(Enumerable.Range(0, 500).Select(
            async i => (await _client.UnaryAsync(new ProbeRequest { Text = $"{i}" })).Text));

        Assert.Equal(Enumerable.Range(0, 500).Select(i => $"hello {i}"), texts);
    }

    [Fact]
    public async Task No_server_is_UNAVAILABLE()
    {
        ProbeServer server = await ProbeServer.StartAsync();
        Uri address = server.Address;
        await server.DisposeAsync();
        using GrpcChannel channel = GrpcChannel.ForAddress(address);
        Probe.ProbeClient client = new(channel);

        RpcException unary = await FailureOf(client.UnaryAsync(new ProbeRequest()).ResponseAsync);
        using AsyncDuplexStreamingCall<ProbeRequest, ProbeReply> call = client.Duplex();
        RpcException write = await FailureOf(call.RequestStream.WriteAsync(new ProbeRequest()));

        Assert.Equal(StatusCode.Unavailable, unary.StatusCode);
        Assert.Equal(StatusCode.Unavailable, write.StatusCode);
    }

    private static Task<RpcException> FailureOf(Task call) => Assert.ThrowsAsync<RpcException>(() => call);
}
