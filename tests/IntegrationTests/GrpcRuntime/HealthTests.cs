using Grpc.Core;
using Grpc.Health.V1;
using Xunit;
using ServingStatus = Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

public sealed class HealthTests : IAsyncLifetime
{
    private ProbeServer _server = null!;
    private Health.HealthClient _client = null!;

    public async Task InitializeAsync()
    {
        _server = await ProbeServer.StartAsync();
        _client = new Health.HealthClient(_server.Channel);
    }

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task Check_answers_what_was_set()
    {
        _server.Health.SetStatus("model", ServingStatus.NotServing);

        Assert.Equal(ServingStatus.Serving, (await _client.CheckAsync(new HealthCheckRequest())).Status);
        Assert.Equal(ServingStatus.NotServing, (await _client.CheckAsync(new HealthCheckRequest { Service = "model" })).Status);
    }

    [Fact]
    public async Task Check_of_an_unknown_service_is_NOT_FOUND()
    {
        RpcException failure = await Assert.ThrowsAsync<RpcException>(
            async () => await _client.CheckAsync(new HealthCheckRequest { Service = "nope" }));

        Assert.Equal((StatusCode.NotFound, "there is no service 'nope'"), (failure.StatusCode, failure.Status.Detail));
    }

    [Fact]
    public async Task Watch_tells_every_change_once()
    {
        using AsyncServerStreamingCall<HealthCheckResponse> watch = _client.Watch(new HealthCheckRequest { Service = "model" });

        Assert.Equal(ServingStatus.ServiceUnknown, await Next(watch));
        _server.Health.SetStatus("model", ServingStatus.Serving);
        Assert.Equal(ServingStatus.Serving, await Next(watch));
        _server.Health.SetStatus("model", ServingStatus.Serving);
        _server.Health.SetStatus("other", ServingStatus.NotServing);
        _server.Health.ClearStatus("model");
        Assert.Equal(ServingStatus.ServiceUnknown, await Next(watch));
    }

    [Fact]
    public async Task Shutdown_says_NOT_SERVING_for_good_and_a_stopping_server_ends_the_watch()
    {
        using AsyncServerStreamingCall<HealthCheckResponse> watch = _client.Watch(new HealthCheckRequest());
        Assert.Equal(ServingStatus.Serving, await Next(watch));

        _server.Health.Shutdown();
        _server.Health.SetStatus("", ServingStatus.Serving);

        Assert.Equal(ServingStatus.NotServing, await Next(watch));
        Assert.Equal(ServingStatus.NotServing, (await _client.CheckAsync(new HealthCheckRequest())).Status);
        await _server.StopAsync();
        RpcException failure = await Assert.ThrowsAsync<RpcException>(() => watch.ResponseStream.MoveNext());
        Assert.Equal(StatusCode.Unavailable, failure.StatusCode);
    }

    private static async Task<ServingStatus> Next(AsyncServerStreamingCall<HealthCheckResponse> watch)
    {
        Assert.True(await watch.ResponseStream.MoveNext());
        return watch.ResponseStream.Current.Status;
    }
}
