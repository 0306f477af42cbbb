using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;
using InferenceServer.TestKit;
using Xunit;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>Our client against a server that is not ours: foreign/probe_server.py.</summary>
public sealed class ForeignServerTests
{
    [RequiresFact(Tool.PythonGrpc)]
    public Task Our_client_calls_Python_grpcio() => RunAsync();

    [RequiresFact(Tool.PythonGrpc)]
    public Task Our_client_reads_compressed_responses_of_Python_grpcio() => RunAsync("gzip");

    private static async Task RunAsync(params string[] arguments)
    {
        string folder = Directory.CreateTempSubdirectory("grpc-foreign-").FullName;
        try
        {
            string descriptors = Path.Combine(folder, "probe.binpb");
            DescriptorSets.Write(descriptors, ProbeReflection.Descriptor);
            using Process server = ExternalTools.StartScript(Tool.PythonGrpc, "probe_server.py", [descriptors, .. arguments]);
            try
            {
                string? port = await server.StandardOutput.ReadLineAsync();
                Assert.True(int.TryParse(port, out _), $"no port but '{port}'");
                using GrpcChannel channel = GrpcChannel.ForAddress(
                    $"http://127.0.0.1:{port}", new GrpcChannelOptions { MaxReceiveMessageSize = 64 << 20 });
                await CheckAsync(new Probe.ProbeClient(channel));
            }
            finally
            {
                server.Kill();
                await server.WaitForExitAsync();
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task CheckAsync(Probe.ProbeClient client)
    {
        Assert.Equal("hello wörld", (await client.UnaryAsync(new ProbeRequest { Text = "wörld" })).Text);
        Assert.Equal(20 << 20, (await client.UnaryAsync(new ProbeRequest { ReplySize = 20 << 20 })).Blob.Length);
        Metadata gzip = new() { { "grpc-internal-encoding-request", "gzip" } };
        Assert.Equal(10_006, (await client.UnaryAsync(new ProbeRequest { Text = new string('z', 10_000) }, gzip)).Text.Length);
        await CheckMetadataAsync(client);
        await CheckStreamsAsync(client);
        await CheckFailuresAsync(client);
    }

    private static async Task CheckMetadataAsync(Probe.ProbeClient client)
    {
        using AsyncUnaryCall<ProbeReply> call = client.UnaryAsync(
            new ProbeRequest { Headers = true }, new Metadata { { "x-in", "v" }, { "x-in-bin", [0, 255, 7] } });
        await call;

        Assert.Equal([0, 255, 7], (await call.ResponseHeadersAsync).GetValueBytes("x-echo-bin"));
        Assert.Equal("v", call.GetTrailers().GetValue("x-trailer"));
    }

    private static async Task CheckStreamsAsync(Probe.ProbeClient client)
    {
        using AsyncServerStreamingCall<ProbeReply> server = client.ServerStream(new ProbeRequest { Count = 1000 });
        long expected = 0;
        await foreach (ProbeReply reply in server.ResponseStream.ReadAllAsync())
        {
            Assert.Equal(expected++, reply.N);
        }

        Assert.Equal(1000, expected);
        using AsyncClientStreamingCall<ProbeRequest, ProbeReply> requests = client.ClientStream();
        for (int i = 0; i < 100; i++)
        {
            await requests.RequestStream.WriteAsync(new ProbeRequest { Blob = ByteString.CopyFrom(new byte[1000]) });
        }

        await requests.RequestStream.CompleteAsync();
        Assert.Equal("100000", (await requests).Text);
        using AsyncDuplexStreamingCall<ProbeRequest, ProbeReply> duplex = client.Duplex();
        for (int i = 0; i < 50; i++)
        {
            await duplex.RequestStream.WriteAsync(new ProbeRequest { Count = i });
            Assert.True(await duplex.ResponseStream.MoveNext());
            Assert.Equal(i, duplex.ResponseStream.Current.N);
        }

        await duplex.RequestStream.CompleteAsync();
        Assert.False(await duplex.ResponseStream.MoveNext());
    }

    private static async Task CheckFailuresAsync(Probe.ProbeClient client)
    {
        RpcException failure = await FailureOf(client.UnaryAsync(new ProbeRequest { FailCode = 9, Text = "ünï 100%" }).ResponseAsync);
        Assert.Equal((StatusCode.FailedPrecondition, "ünï 100%"), (failure.StatusCode, failure.Status.Detail));
        Assert.Equal(ProbeService.DetailBytes, failure.Trailers.GetValueBytes("x-detail-bin"));
        Assert.Equal(StatusCode.Unimplemented, (await FailureOf(client.NotWrittenAsync(new ProbeRequest()).ResponseAsync)).StatusCode);
        Assert.Equal(StatusCode.ResourceExhausted, (await FailureOf(
            client.UnaryAsync(new ProbeRequest { Blob = ByteString.CopyFrom(new byte[5 << 20]) }).ResponseAsync)).StatusCode);
        Assert.Equal(StatusCode.DeadlineExceeded, (await FailureOf(
            client.WaitAsync(new ProbeRequest(), deadline: DateTime.UtcNow.AddMilliseconds(200)).ResponseAsync)).StatusCode);

        using AsyncServerStreamingCall<ProbeReply> stream = client.ServerStream(new ProbeRequest { Count = 3, FailCode = 13 });
        for (int i = 0; i < 3; i++)
        {
            Assert.True(await stream.ResponseStream.MoveNext());
        }

        Assert.Equal("mid-stream: ünï%", (await FailureOf(stream.ResponseStream.MoveNext())).Status.Detail);
        using AsyncServerStreamingCall<ProbeReply> left = client.ServerStream(new ProbeRequest { Count = int.MaxValue });
        Assert.True(await left.ResponseStream.MoveNext());
        left.Dispose();
        Assert.Equal(StatusCode.Cancelled, (await FailureOf(left.ResponseStream.MoveNext())).StatusCode);

        using AsyncClientStreamingCall<ProbeRequest, ProbeReply> early = client.ClientStream();

        // The server may end the call before this write is done: then it says so too.
        await Record.ExceptionAsync(() => early.RequestStream.WriteAsync(new ProbeRequest { FailCode = 8 }));
        Assert.Equal("no more", (await FailureOf(early.ResponseAsync)).Status.Detail);
        Assert.Equal("no more", (await FailureOf(early.RequestStream.WriteAsync(new ProbeRequest()))).Status.Detail);
    }

    private static Task<RpcException> FailureOf(Task call) => Assert.ThrowsAsync<RpcException>(() => call);
}
