using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Http.Headers;
using InferenceServer.Server.Metrics;
using InferenceServer.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>The exporter's endpoint on a real Kestrel, whose own meters it exports beside one of every kind of instrument.</summary>
public sealed class PrometheusEndpointTests : IAsyncLifetime, IDisposable
{
    private readonly HttpClient _http = new();
    private WebApplication _app = null!;

    public async Task InitializeAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        builder.Services.AddPrometheusExporter(options =>
        {
            foreach (string meter in new[]
            {
                "Tests.Endpoint",
                "Microsoft.AspNetCore.Hosting",
                "Microsoft.AspNetCore.Server.Kestrel",
                "Microsoft.AspNetCore.Routing",
                "System.Runtime",
            })
            {
                options.Meters.Add(meter);
            }
        });
        _app = builder.Build();
        _app.MapPrometheus();
        await _app.StartAsync();
        _http.BaseAddress = new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        Measure(_app.Services.GetRequiredService<IMeterFactory>().Create("Tests.Endpoint"));
    }

    public async Task DisposeAsync() => await _app.DisposeAsync();

    public void Dispose() => _http.Dispose();

    [Fact]
    public async Task Gives_the_text_format_unless_OpenMetrics_is_asked_for()
    {
        using HttpResponseMessage plain = await _http.GetAsync(new Uri("/metrics", UriKind.Relative));
        using HttpRequestMessage ask = new(HttpMethod.Get, "/metrics");
        ask.Headers.Accept.Add(MediaTypeWithQualityHeaderValue.Parse("application/openmetrics-text; version=1.0.0"));
        using HttpResponseMessage open = await _http.SendAsync(ask);

        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", plain.Content.Headers.ContentType!.ToString());
        Assert.Equal("application/openmetrics-text; version=1.0.0; charset=utf-8", open.Content.Headers.ContentType!.ToString());
        Assert.EndsWith("# EOF\n", await open.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exports_the_meters_of_the_host_and_of_the_runtime()
    {
        // The second answer counts the first request.
        await _http.GetStringAsync(new Uri("/metrics", UriKind.Relative));
        string text = await _http.GetStringAsync(new Uri("/metrics", UriKind.Relative));

        Assert.Contains("\nkestrel_active_connections{", text, StringComparison.Ordinal);
        Assert.Contains("\nhttp_server_request_duration_seconds_bucket{", text, StringComparison.Ordinal);
        Assert.Contains("\ndotnet_thread_pool_threads ", text, StringComparison.Ordinal);
        Assert.Contains("\ntests_tokens_total{adapter=\"wörld \\\"1\\\"\\\\\\n\"} 5\n", text, StringComparison.Ordinal);
    }

    [RequiresFact(Tool.Promtool)]
    public async Task Promtool_finds_nothing_wrong()
    {
        await _http.GetStringAsync(new Uri("/metrics", UriKind.Relative));
        string text = await _http.GetStringAsync(new Uri("/metrics", UriKind.Relative));

        ToolResult result = await ExternalTools.RunAsync(Tool.Promtool, ["check", "metrics"], text);

        Assert.Equal(new ToolResult(0, ""), result);
        ToolResult wrong = await ExternalTools.RunAsync(Tool.Promtool, ["check", "metrics"], text + "bad{ 1\n");
        Assert.NotEqual(0, wrong.ExitCode);
    }

    private static void Measure(Meter meter)
    {
        meter.CreateCounter<long>("tests.tokens", "{token}", "Tokens with \"quotes\" and a\nnewline.")
            .Add(5, new KeyValuePair<string, object?>("adapter", "wörld \"1\"\\\n"));
        meter.CreateUpDownCounter<int>("tests.running", "{request}", "Requests.").Add(1);
        meter.CreateGauge<double>("tests.usage", "1", "Share.").Record(0.5);
        meter.CreateObservableGauge("tests.queue", () => 3, "{request}", "Requests that wait.");
        meter.CreateObservableCounter("tests.work", () => 3.5, "s", "Time.");
        InstrumentAdvice<double> advice = new() { HistogramBucketBoundaries = [0.001, 0.01, 0.1, 1] };
        meter.CreateHistogram("tests.duration", "s", "Time.", advice: advice).Record(0.05);
    }
}
