using System.IO.Pipelines;
using Grpc.Core;
using InferenceServer.IntegrationTests.GrpcRuntime.Protos;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>Calls that end before their method is done: cancelled, past their deadline, or by a server that stops.</summary>
public sealed class CallEndTests(ProbeServerFixture fixture) : IClassFixture<ProbeServerFixture>
{
    private readonly ProbeServer _server = fixture.Server;

    [Fact]
    public async Task A_cancelled_call_cancels_its_method()
    {
        using CancellationTokenSource cancellation = new();
        using AsyncUnaryCall<ProbeReply> call = _server.Client.WaitAsync(
            new ProbeRequest { Text = "cancelled" }, cancellationToken: cancellation.Token);
        await _server.Log.Started("cancelled");

        await cancellation.CancelAsync();

        RpcException failure = await FailureOf(call.ResponseAsync);
        Assert.Equal(StatusCode.Cancelled, failure.StatusCode);
        Assert.Equal(StatusCode.Cancelled, call.GetStatus().StatusCode);
        await _server.Log.Cancelled("cancelled");
    }

    [Fact]
    public async Task A_disposed_call_cancels_its_method()
    {
        AsyncUnaryCall<ProbeReply> call = _server.Client.WaitAsync(new ProbeRequest { Text = "disposed" });
        await _server.Log.Started("disposed");

        call.Dispose();

        RpcException failure = await FailureOf(call.ResponseAsync);
        Assert.Equal(StatusCode.Cancelled, failure.StatusCode);
        await _server.Log.Cancelled("disposed");
    }

    [Fact]
    public async Task A_call_cancelled_before_it_starts_is_CANCELLED()
    {
        RpcException failure = await FailureOf(_server.Client.UnaryAsync(
            new ProbeRequest(), cancellationToken: new CancellationToken(canceled: true)).ResponseAsync);

        Assert.Equal(StatusCode.Cancelled, failure.StatusCode);
    }

    [Fact]
    public async Task A_deadline_ends_the_call_and_cancels_its_method()
    {
        RpcException failure = await FailureOf(_server.Client.WaitAsync(
            new ProbeRequest { Text = "deadline" }, deadline: DateTime.UtcNow.AddMilliseconds(200)).ResponseAsync);

        Assert.Equal(StatusCode.DeadlineExceeded, failure.StatusCode);
        await _server.Log.Cancelled("deadline");
    }

    [Fact]
    public async Task A_deadline_in_the_past_fails_at_once()
    {
        RpcException failure = await FailureOf(_server.Client.UnaryAsync(
            new ProbeRequest(), deadline: DateTime.UtcNow.AddSeconds(-1)).ResponseAsync);

        Assert.Equal(StatusCode.DeadlineExceeded, failure.StatusCode);
    }

    [Fact]
    public async Task A_deadline_beyond_any_timer_is_allowed()
    {
        foreach (DateTime deadline in new[] { DateTime.UtcNow.AddYears(10), DateTime.MaxValue })
        {
            Assert.Equal("hello far", (await _server.Client.UnaryAsync(new ProbeRequest { Text = "far" }, deadline: deadline)).Text);
        }
    }

    [Fact]
    public async Task The_server_itself_ends_a_call_at_its_deadline()
    {
        ManualTime time = new();
        await using ProbeServer server = await ProbeServer.StartAsync(services: s => s.AddSingleton<TimeProvider>(time));
        using RawGrpcClient raw = new(server.Address);
        Task<RawGrpcResponse> call = raw.CallAsync("Wait", new ProbeRequest { Text = "d" }, ("grpc-timeout", "1H"));
        await server.Log.Started("d");

        time.Advance(TimeSpan.FromHours(1));

        RawGrpcResponse response = await call;
        Assert.Equal("4", response.Status);
        await server.Log.Cancelled("d");
    }

    [Fact]
    public async Task Streams_that_clients_leave_are_cancelled_and_no_error_is_logged()
    {
        for (int i = 0; i < 20; i++)
        {
            string text = $"left-{i}";
            using AsyncServerStreamingCall<ProbeReply> call = _server.Client.ServerStream(
                new ProbeRequest { Text = text, Count = int.MaxValue, ReplySize = 1000 });
            for (int read = 0; read <= i; read++)
            {
                Assert.True(await call.ResponseStream.MoveNext());
            }

            call.Dispose();

            RpcException failure = await FailureOf(call.ResponseStream.MoveNext());
            Assert.Equal(StatusCode.Cancelled, failure.StatusCode);
            await _server.Log.Cancelled(text);
        }

        Assert.Empty(_server.Errors.Entries);
    }

    [Fact]
    public async Task A_request_that_breaks_off_before_its_call_is_aborted_is_a_client_gone_and_no_error()
    {
        // A reset reaches the request's body before the token of its request: the order that the race seldom takes, made certain.
        await using ProbeServer server = await ProbeServer.StartAsync(services: s => s.AddSingleton<IStartupFilter>(new BrokenBodies()));
        using AsyncDuplexStreamingCall<ProbeRequest, ProbeReply> call = server.Client.Duplex();

        RpcException failure = await FailureOf(call.ResponseStream.MoveNext());

        Assert.Equal((StatusCode.Cancelled, "the call was cancelled"), (failure.StatusCode, failure.Status.Detail));
        Assert.Empty(server.Errors.Entries);
    }

    [Fact]
    public async Task A_read_that_is_cancelled_ends_the_call()
    {
        using CancellationTokenSource cancellation = new();
        using AsyncDuplexStreamingCall<ProbeRequest, ProbeReply> call = _server.Client.Duplex();
        Task<bool> read = call.ResponseStream.MoveNext(cancellation.Token);

        await cancellation.CancelAsync();

        Assert.Equal(StatusCode.Cancelled, (await FailureOf(read)).StatusCode);
        Assert.Equal(StatusCode.Cancelled, (await FailureOf(call.RequestStream.WriteAsync(new ProbeRequest()))).StatusCode);
    }

    [Fact]
    public async Task A_server_that_stops_ends_its_calls_with_UNAVAILABLE()
    {
        await using ProbeServer server = await ProbeServer.StartAsync();
        using AsyncUnaryCall<ProbeReply> unary = server.Client.WaitAsync(new ProbeRequest { Text = "u" });
        using AsyncDuplexStreamingCall<ProbeRequest, ProbeReply> duplex = server.Client.Duplex();
        await server.Log.Started("u");
        await duplex.RequestStream.WriteAsync(new ProbeRequest());
        Assert.True(await duplex.ResponseStream.MoveNext());

        await server.StopAsync();

        foreach (Task call in new Task[] { unary.ResponseAsync, duplex.ResponseStream.MoveNext() })
        {
            RpcException failure = await FailureOf(call);
            Assert.Equal((StatusCode.Unavailable, "the server is shutting down"), (failure.StatusCode, failure.Status.Detail));
        }

        Assert.Empty(server.Errors.Entries);
    }

    [Fact]
    public async Task A_server_that_stops_lets_its_calls_finish_during_the_drain()
    {
        TimeSpan drain = TimeSpan.FromSeconds(25);
        ManualTime time = new();
        await using ProbeServer server = await ProbeServer.StartAsync(
            options => options.ShutdownDrain = drain, services => services.AddSingleton<TimeProvider>(time));
        using AsyncUnaryCall<ProbeReply> unary = server.Client.WaitAsync(new ProbeRequest { Text = "u" });
        using AsyncDuplexStreamingCall<ProbeRequest, ProbeReply> duplex = server.Client.Duplex();
        await server.Log.Started("u");
        await duplex.RequestStream.WriteAsync(new ProbeRequest());
        Assert.True(await duplex.ResponseStream.MoveNext());

        Task stopped = server.StopAsync();
        await time.TimerStarted(drain);
        await duplex.RequestStream.WriteAsync(new ProbeRequest { Text = "late" });
        Assert.True(await duplex.ResponseStream.MoveNext());
        Assert.Equal("late", duplex.ResponseStream.Current.Text);
        await duplex.RequestStream.CompleteAsync();
        Assert.False(await duplex.ResponseStream.MoveNext());
        time.Advance(drain);

        Assert.Equal(StatusCode.Unavailable, (await FailureOf(unary.ResponseAsync)).StatusCode);
        await stopped;
    }

    private static Task<RpcException> FailureOf(Task call) => Assert.ThrowsAsync<RpcException>(() => call);

    /// <summary>Gives every request a body that fails as a connection does.</summary>
    private sealed class BrokenBodies : IStartupFilter
    {
        public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
        {
            app.Use((http, rest) =>
            {
                http.Features.Set<IRequestBodyPipeFeature>(new BrokenBody());
                return rest(http);
            });
            next(app);
        };
    }

    private sealed class BrokenBody : IRequestBodyPipeFeature
    {
        public BrokenBody()
        {
            Pipe pipe = new();
            pipe.Writer.Complete(new IOException("the stream was reset"));
            Reader = pipe.Reader;
        }

        public PipeReader Reader { get; }
    }
}
