using System.Net;
using Grpc.Core;
using Grpc.Health.V1;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Hosting;
using InferenceServer.TestKit.Placeholder;
using Microsoft.Extensions.Options;
using Xunit;

namespace InferenceServer.IntegrationTests.Hosting;

public class OperationsTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task Info_describes_model_limits_and_load()
    {
        ServerInfo info = await fixture.Client.GetInfoAsync();

        Assert.Equal(PlaceholderModel.Name, info.Model.Name);
        Assert.Equal("LlamaForCausalLM", info.Model.Architecture);
        Assert.Equal("f32", info.Model.WeightFormat);
        Assert.Equal(261, info.Model.VocabularySize);
        Assert.Equal(2048, info.Model.MaxModelLength);
        Assert.True(info.Model.HasTokenizer);
        Assert.True(info.Model.HasChatTemplate);
        Assert.StartsWith("cpu", info.Device, StringComparison.Ordinal);
        Assert.True(info.Limits.KvBlocks > 0);
        Assert.True(info.Limits.MaxAdapterBytes > 0);
        Assert.True(info.Load.AdaptersOnDisk >= 2);
    }

    [Fact]
    public async Task Metrics_name_what_a_router_reads()
    {
        await fixture.Client.GenerateTextAsync("hello", Generate.Greedy("shout"));

        string metrics = await fixture.Server.Http.GetStringAsync("/metrics");

        string[] names =
        [
            "time_to_first_token", "time_per_output_token", "adapters_loaded", "kv", "waiting", "running",
            "adapters_load_duration_seconds_bucket",
        ];
        foreach (string name in names)
        {
            Assert.Contains(name, metrics, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_http_port_says_live_and_ready_and_the_grpc_port_shows_none_of_it()
    {
        using HttpClient other = new()
        {
            BaseAddress = fixture.Server.Host.GrpcAddress,
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };

        Assert.Equal("live\n", await fixture.Server.Http.GetStringAsync("/health/live"));
        Assert.Equal("ready\n", await fixture.Server.Http.GetStringAsync("/health/ready"));
        Assert.Equal(HttpStatusCode.NotFound, (await other.GetAsync("/metrics")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await other.GetAsync("/health/ready")).StatusCode);
    }

    [Fact]
    public async Task Stopping_says_not_serving_refuses_new_requests_and_lets_running_ones_end()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        Health.HealthClient health = new(server.Channel);
        using AsyncServerStreamingCall<HealthCheckResponse> watch = health.Watch(new HealthCheckRequest());
        Assert.True(await watch.ResponseStream.MoveNext(CancellationToken.None));
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, watch.ResponseStream.Current.Status);
        IAsyncEnumerator<GenerateResponse> running =
            server.Client.GenerateAsync(Generate.Request("hello", tokens: 500)).GetAsyncEnumerator();
        Assert.True(await running.MoveNextAsync());
        int tokens = running.Current.TokenIds.Count;

        Task stop = server.Host.StopAsync();
        Assert.True(await watch.ResponseStream.MoveNext(CancellationToken.None));
        HealthCheckResponse.Types.ServingStatus then = watch.ResponseStream.Current.Status;
        watch.Dispose();
        InferenceException refused = await Assert.ThrowsAsync<InferenceException>(() => server.Client.GenerateTextAsync("hello"));
        while (await running.MoveNextAsync())
        {
            tokens += running.Current.TokenIds.Count;
        }

        await running.DisposeAsync();
        await stop;
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.NotServing, then);
        Assert.Equal(StatusCode.Unavailable, refused.Status);
        Assert.Equal(500, tokens);
    }

    [Theory]
    [InlineData("--max-uploads", "0", "MaxUploads")]
    [InlineData("--grpc", "5100", "--grpc '5100'")]
    [InlineData("--model", "/no/such/folder", "--model '/no/such/folder'")]
    [InlineData("--max-batch-tokens", "0", "MaxBatchTokens")]
    public async Task A_wrong_option_is_named_before_anything_starts(string option, string value, string named)
    {
        OptionsValidationException error =
            await Assert.ThrowsAsync<OptionsValidationException>(() => RunningServer.StartAsync(option, value));

        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_model_that_cannot_be_loaded_stops_the_server_with_its_reason()
    {
        using TemporaryFolder empty = new();
        await using InferenceServerHost host = InferenceServerHost.Build(
            ["--model", empty.Path, "--data", empty.Path, "--grpc", "http://127.0.0.1:0", "--http", "none", "--device", "cpu"]);

        Exception error = await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            await host.StartAsync();
            await host.Ready;
        });

        Assert.Contains("config.json", error.Message, StringComparison.Ordinal);
    }
}
