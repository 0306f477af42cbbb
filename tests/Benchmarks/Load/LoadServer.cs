using System.Globalization;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Client;
using InferenceServer.Engine;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;
using InferenceServer.TestKit.TinyModel;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceServer.Benchmarks.Load;

/// <summary>The whole server in this process on a free port of the loopback, with random weights.</summary>
internal sealed class LoadServer : IAsyncDisposable
{
    private readonly DirectoryInfo? _temporary;
    private readonly InferenceServerHost _host;

    private LoadServer(DirectoryInfo? temporary, InferenceServerHost host)
    {
        _temporary = temporary;
        _host = host;
        Client = new InferenceClient(host.GrpcAddress.ToString());
    }

    public InferenceClient Client { get; }

    public InferenceEngine Engine => _host.Services.GetRequiredService<InferenceEngine>();

    public AdapterCache Cache => _host.Services.GetRequiredService<AdapterCache>();

    public IComputeBackend Backend => _host.Services.GetRequiredService<IComputeBackend>();

    public AdapterCatalog Catalog => _host.Services.GetRequiredService<AdapterCatalog>();

    public AdapterCacheStatistics AdapterStatistics => Cache.GetStatistics();

    public static string AdapterName(int index) => string.Create(CultureInfo.InvariantCulture, $"adapter-{index}");

    /// <summary>Writes the weights, starts, and uploads the adapters through the client; what an earlier run kept is found again.</summary>
    /// <param name="options">What to run.</param>
    /// <param name="rank">One of the ranks in it.</param>
    public static async Task<LoadServer> StartAsync(LoadOptions options, string rank)
    {
        DirectoryInfo? temporary = options.Data is null ? Directory.CreateTempSubdirectory("inferenceserver-load-") : null;
        string folder = temporary?.FullName ?? Path.Combine(options.Data!, $"{options.Shape}-r{rank}-seed{options.Seed}");
        string modelFolder = Path.Combine(folder, "model");
        TinyLlama model = options.Model();
        if (!Directory.Exists(modelFolder))
        {
            model.Write(modelFolder + ".part");
            Directory.Move(modelFolder + ".part", modelFolder);
        }

        string[] arguments =
        [
            "--model", modelFolder, "--data", Path.Combine(folder, "data"), "--grpc", "http://127.0.0.1:0", "--http", ServerOptions.None,
            "--max-running", Math.Max(64, options.Concurrency).ToString(CultureInfo.InvariantCulture), "--log-level", "none",
            "--weights", options.Weights, .. (temporary is null ? Array.Empty<string>() : ["--packed-cache", "off"]), .. options.Server,
        ];
        InferenceServerHost host = InferenceServerHost.Build(arguments);
        await host.StartAsync();
        await host.Ready;
        LoadServer server = new(temporary, host);
        for (int i = 0; i < options.Adapters.Max(); i++)
        {
            if (!server.Catalog.TryGet(AdapterName(i), out _))
            {
                string adapterFolder = Path.Combine(folder, "upload");
                options.Adapter(rank, i).Write(adapterFolder, model);
                await server.Client.Adapters.UploadFolderAsync(AdapterName(i), adapterFolder);
            }
        }

        return server;
    }

    public Task<ServerInfo> InfoAsync() => Client.GetInfoAsync();

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _host.StopAsync();
        await _host.DisposeAsync();
        _temporary?.Delete(recursive: true);
    }
}
