using Grpc.Net.Client;
using InferenceServer.Client;
using InferenceServer.IntegrationTests.Adapters;
using InferenceServer.Server.Hosting;
using InferenceServer.TestKit.Placeholder;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Logging;

namespace InferenceServer.IntegrationTests;

/// <summary>
/// The whole server in this process, on free ports of the loopback, with the placeholder model and a data folder of its own.
/// </summary>
internal sealed class RunningServer : IAsyncDisposable
{
    private readonly TemporaryFolder? _ownData;
    private readonly InferenceServerHost _host;

    private RunningServer(InferenceServerHost host, TemporaryFolder? ownData, string data)
    {
        _host = host;
        _ownData = ownData;
        DataFolder = data;
        Channel = GrpcChannel.ForAddress(host.GrpcAddress);
        Client = new InferenceClient(host.GrpcAddress.ToString());
        Http = new HttpClient { BaseAddress = host.HttpAddress };
    }

    public string DataFolder { get; }

    /// <summary>Where uploads lie until they are published.</summary>
    public string StagingFolder => Path.Combine(DataFolder, "staging");

    public GrpcChannel Channel { get; }

    public InferenceClient Client { get; }

    public HttpClient Http { get; }

    public InferenceServerHost Host => _host;

    public string Target => _host.GrpcAddress.Authority;

    /// <summary>An adapter of the placeholder: shout or whisper.</summary>
    public static string Sample(string name) => SampleAdapters.Folder(name);

    /// <summary>Starts and waits until the model is served; in f32, so that equalities hold that bf16's rounding would blur.</summary>
    public static Task<RunningServer> StartAsync(params string[] options) => StartAsync(data: null, configure: null, options);

    /// <summary>Starts with what is served when no model is named: the demo.</summary>
    public static Task<RunningServer> StartDemoAsync(string? data = null) => StartAsync(
        data,

        // Training that gives way to everything else would wait for the other tests' work to end.
        builder => builder.Configuration["Training:Niceness"] = "0",
        model: null,
        []);

    public static Task<RunningServer> StartAsync(string? data, Action<WebApplicationBuilder>? configure, params string[] options) =>
        StartAsync(data, configure, options.Contains("--model") ? null : PlaceholderModel.Folder, options);

    private static async Task<RunningServer> StartAsync(
        string? data, Action<WebApplicationBuilder>? configure, string? model, string[] options)
    {
        TemporaryFolder? own = data is null ? new TemporaryFolder() : null;
        string folder = data ?? own!.Path;
        string[] arguments =
        [
            "--grpc", "http://127.0.0.1:0", "--http", "http://127.0.0.1:0", "--data", folder,
            "--weights", "f32", "--threads", "2", "--drain", "5",

            // Named, because CUDA's stand-in stays in the process once a test has loaded it, and auto would take it.
            "--device", "cpu",
            .. model is null ? Array.Empty<string>() : ["--model", model],
            .. options,
        ];
        InferenceServerHost host = InferenceServerHost.Build(arguments, builder =>
        {
            builder.Logging.ClearProviders();

            // On a machine that other processes keep busy, threads of the lowest priority would hardly come to their turn.
            builder.Configuration["Training:Niceness"] = "0";
            configure?.Invoke(builder);
        });
        await host.StartAsync();
        await host.Ready;
        return new RunningServer(host, own, folder);
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        Client.Dispose();
        Channel.Dispose();
        await _host.StopAsync();
        await _host.DisposeAsync();
        _ownData?.Dispose();
    }
}
