using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Net.Client;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;
using Xunit;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>Message limits and compression, both ways.</summary>
public sealed class LimitTests(ProbeServerFixture fixture) : IClassFixture<ProbeServerFixture>
{
    private const int MiB = 1024 * 1024;

    /// <summary>How a caller asks our client for compressed requests, as with the packages that it stands in for.</summary>
    private static readonly Metadata s_gzipRequest = new() { { "grpc-internal-encoding-request", "gzip" } };

    [Fact]
    public async Task A_request_up_to_the_limit_passes_and_one_over_it_is_RESOURCE_EXHAUSTED()
    {
        Probe.ProbeClient client = fixture.Server.Client;

        ProbeReply reply = await client.UnaryAsync(new ProbeRequest { Blob = ByteString.CopyFrom(new byte[3 * MiB]) });
        RpcException failure = await FailureOf(
            client.UnaryAsync(new ProbeRequest { Blob = ByteString.CopyFrom(new byte[5 * MiB]) }).ResponseAsync);

        Assert.StartsWith($"{3 * MiB} bytes", reply.Note, StringComparison.Ordinal);
        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
        Assert.EndsWith("exceeds the limit of 4194304 bytes", failure.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_request_that_grows_over_the_limit_is_RESOURCE_EXHAUSTED()
    {
        Probe.ProbeClient client = fixture.Server.Client;

        ProbeReply reply = await client.UnaryAsync(new ProbeRequest { Text = new string('z', 10_000) }, s_gzipRequest);
        RpcException failure = await FailureOf(
            client.UnaryAsync(new ProbeRequest { Blob = ByteString.CopyFrom(new byte[5 * MiB]) }, s_gzipRequest).ResponseAsync);

        Assert.Equal(10_006, reply.Text.Length);
        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
        Assert.Equal("a decompressed message exceeds the limit of 4194304 bytes", failure.Status.Detail);
    }

    [Fact]
    public async Task A_response_over_the_clients_limit_is_RESOURCE_EXHAUSTED()
    {
        RpcException failure = await FailureOf(fixture.Server.Client.UnaryAsync(new ProbeRequest { ReplySize = 5 * MiB }).ResponseAsync);

        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
    }

    [Fact]
    public async Task Without_a_limit_large_messages_pass_both_ways()
    {
        await using ProbeServer server = await ProbeServer.StartAsync(options => options.MaxReceiveMessageSize = null);
        using GrpcChannel channel = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions { MaxReceiveMessageSize = null });

        ProbeReply reply = await new Probe.ProbeClient(channel).UnaryAsync(
            new ProbeRequest { ReplySize = 20 * MiB, Blob = ByteString.CopyFrom(new byte[20 * MiB]) });

        Assert.Equal(20 * MiB, reply.Blob.Length);
        Assert.StartsWith($"{20 * MiB} bytes", reply.Note, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Send_limits_hold_on_both_sides()
    {
        await using ProbeServer server = await ProbeServer.StartAsync(options => options.MaxSendMessageSize = 1000);
        using GrpcChannel channel = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions { MaxSendMessageSize = 1000 });
        Probe.ProbeClient client = new(channel);
        ProbeRequest large = new() { Blob = ByteString.CopyFrom(new byte[1000]) };

        RpcException reply = await FailureOf(client.UnaryAsync(new ProbeRequest { ReplySize = 1000 }).ResponseAsync);
        RpcException request = await FailureOf(client.UnaryAsync(large).ResponseAsync);
        using AsyncClientStreamingCall<ProbeRequest, ProbeReply> stream = client.ClientStream();
        RpcException streamed = await FailureOf(stream.RequestStream.WriteAsync(large));
        await stream.RequestStream.CompleteAsync();

        Assert.Equal(StatusCode.ResourceExhausted, reply.StatusCode);
        Assert.Equal(StatusCode.ResourceExhausted, request.StatusCode);
        Assert.Equal(StatusCode.ResourceExhausted, streamed.StatusCode);
        Assert.Equal(0, (await stream).N);
    }

    [Fact]
    public async Task Compressed_streams_carry_every_message()
    {
        await using ProbeServer server = await ProbeServer.StartAsync(options => options.ResponseCompressionAlgorithm = "gzip");
        using AsyncDuplexStreamingCall<ProbeRequest, ProbeReply> call = server.Client.Duplex(s_gzipRequest);
        foreach (int length in new[] { 0, 1, 127, 128, 129, 100_000 })
        {
            string text = new('t', length);
            await call.RequestStream.WriteAsync(new ProbeRequest { Text = text });
            Assert.True(await call.ResponseStream.MoveNext());
            Assert.Equal(text, call.ResponseStream.Current.Text);
        }

        await call.RequestStream.CompleteAsync();
        Assert.False(await call.ResponseStream.MoveNext());
        Assert.Equal(new Empty(), await server.Client.NothingAsync(new Empty(), s_gzipRequest));
    }

    private static Task<RpcException> FailureOf(Task call) => Assert.ThrowsAsync<RpcException>(() => call);
}
