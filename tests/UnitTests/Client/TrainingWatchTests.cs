using System.Buffers.Binary;
using System.Net;
using System.Net.Http.Headers;
using Google.Protobuf;
using Grpc.Core;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using Xunit;

namespace InferenceServer.UnitTests.Client;

/// <summary>A watch outlives its connection: what was cut off is asked for again, and each event comes once.</summary>
public sealed class TrainingWatchTests
{
    [Fact]
    public async Task A_cut_watch_goes_on_after_the_last_event()
    {
        ScriptedServer server = new(new Reply([1, 2], Cut: true), new Reply([], Cut: true), new Reply([2, 3], Cut: false));
        using InferenceClient client = Connect(server);

        long[] numbers = await client.Training.WatchAsync("job").Select(happened => happened.Number).ToArrayAsync();

        Assert.Equal([1, 2, 3], numbers);
        Assert.Equal([0, 2, 2], server.AskedAfter);
    }

    [Fact]
    public async Task A_watch_may_begin_in_the_middle()
    {
        ScriptedServer server = new(new Reply([8], Cut: false));
        using InferenceClient client = Connect(server);

        long[] numbers = await client.Training.WatchAsync("job", 7).Select(happened => happened.Number).ToArrayAsync();

        Assert.Equal([8], numbers);
        Assert.Equal([7], server.AskedAfter);
    }

    [Fact]
    public async Task A_servers_answer_is_no_cut()
    {
        ScriptedServer server = new(new Reply([1], Cut: false, Status: "5"));
        using InferenceClient client = Connect(server);

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(
            async () => await client.Training.WatchAsync("job").ToArrayAsync());

        Assert.Equal(StatusCode.NotFound, error.Status);
        Assert.Single(server.AskedAfter);
    }

    [Fact]
    public async Task Without_patience_a_cut_is_the_end()
    {
        ScriptedServer server = new(new Reply([1], Cut: true));
        using InferenceClient client = Connect(server, TimeSpan.Zero);

        InferenceException error = await Assert.ThrowsAsync<InferenceException>(
            async () => await client.Training.WatchAsync("job").ToArrayAsync());

        Assert.Equal(StatusCode.Unavailable, error.Status);
        Assert.Single(server.AskedAfter);
    }

    [Fact]
    public async Task A_cancelled_watch_is_cancelled()
    {
        using CancellationTokenSource cancellation = new();
        ScriptedServer server = new(new Reply([1], Cut: true), new Reply([2], Cut: true));
        using InferenceClient client = Connect(server);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (TrainingEvent _ in client.Training.WatchAsync("job", cancellationToken: cancellation.Token))
            {
                await cancellation.CancelAsync();
            }
        });
    }

    private static InferenceClient Connect(ScriptedServer server, TimeSpan? patience = null) => new(new InferenceClientOptions
    {
        Address = new Uri("http://stub"),
        HttpHandler = server,
        WatchPatience = patience ?? TimeSpan.FromMinutes(1),
    });

    /// <summary>An answer to one Watch.</summary>
    /// <param name="Events">Numbers of its events.</param>
    /// <param name="Cut">Whether the connection breaks after them.</param>
    /// <param name="Status">What ends it otherwise.</param>
    private sealed record Reply(long[] Events, bool Cut, string Status = "0");

    private sealed class ScriptedServer(params Reply[] replies) : HttpMessageHandler
    {
        public List<long> AskedAfter { get; } = [];

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            byte[] asked = await request.Content!.ReadAsByteArrayAsync(cancellationToken);
            AskedAfter.Add(WatchTrainingRequest.Parser.ParseFrom(asked.AsSpan(5)).AfterEvent);
            Reply reply = replies[AskedAfter.Count - 1];
            HttpResponseMessage response = new(HttpStatusCode.OK)
            {
                Version = HttpVersion.Version20,
                Content = new StreamContent(new BreakingStream(Frames(reply.Events), reply.Cut)),
            };
            response.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
            response.TrailingHeaders.Add("grpc-status", reply.Status);
            return response;
        }

        private static byte[] Frames(long[] numbers)
        {
            using MemoryStream frames = new();
            foreach (long number in numbers)
            {
                byte[] message = new TrainingEvent { Number = number }.ToByteArray();
                byte[] head = new byte[5];
                BinaryPrimitives.WriteInt32BigEndian(head.AsSpan(1), message.Length);
                frames.Write(head);
                frames.Write(message);
            }

            return frames.ToArray();
        }
    }

    /// <summary>Gives its bytes, then ends or breaks.</summary>
    private sealed class BreakingStream(byte[] bytes, bool breaks) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            return breaks && Position == Length
                ? ValueTask.FromException<int>(new IOException("the connection broke"))
                : base.ReadAsync(buffer, cancellationToken);
        }
    }
}
