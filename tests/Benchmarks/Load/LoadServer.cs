using System.Globalization;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.Client;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Hosting;
using InferenceServer.TestKit.TinyModel;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceServer.Benchmarks.Load;

/// <summary>The whole server in this process on a free port of the loopback, with random weights in a folder that goes with it.</summary>
internal sealed class LoadServer : IAsyncDisposable
{
    private readonly DirectoryInfo _folder;
    private readonly InferenceServerHost _host;

    private LoadServer(DirectoryInfo folder, InferenceServerHost host)
    {
        _folder = folder;
        _host = host;
        Client = new InferenceClient(host.GrpcAddress.ToString());
    }

    public InferenceClient Client { get; }

    public AdapterCacheStatistics AdapterStatistics => _host.Services.GetRequiredService<AdapterCache>().GetStatistics();

    public static string AdapterName(int index) => string.Create(CultureInfo.InvariantCulture, $"adapter-{index}");

    /// <summary>Writes the weights, starts, and uploads the adapters through the client.</summary>
    public static async Task<LoadServer> StartAsync(LoadOptions options)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("inferenceserver-load-");
        string modelFolder = Path.Combine(folder.FullName, "model");
        TinyLlama model = options.Model();
        model.Write(modelFolder);
        string[] arguments =
        [
            "--model", modelFolder, "--data", Path.Combine(folder.FullName, "data"), "--grpc", "http://127.0.0.1:0", "--http", ServerOptions.None,
            "--max-running", Math.Max(64, options.Concurrency).ToString(CultureInfo.InvariantCulture), "--log-level", "none",
        ];
        InferenceServerHost host = InferenceServerHost.Build(arguments);
        await host.StartAsync();
        await host.Ready;
        LoadServer server = new(folder, host);
        for (int i = 0; i < options.Adapters; i++)
        {
            string adapterFolder = Path.Combine(folder.FullName, "upload");
            options.Adapter(i).Write(adapterFolder, model);
            await server.Client.Adapters.UploadFolderAsync(AdapterName(i), adapterFolder);
        }

        return server;
    }

    public Task<ServerInfo> InfoAsync() => Client.GetInfoAsync();

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _host.StopAsync();
        await _host.DisposeAsync();
        _folder.Delete(recursive: true);
    }
}
