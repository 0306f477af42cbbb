using System.Globalization;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Client;
using InferenceServer.Engine;
using InferenceServer.Models;
using InferenceServer.Models.Transformer;
using InferenceServer.Server.Devices;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>The whole server in this process with random weights of a shape; requests go straight into its engine.</summary>
internal sealed class GpuServer : IAsyncDisposable
{
    /// <summary>Tokens of the longest step: a prefill of this length is one.</summary>
    public const int StepTokens = 2048;

    /// <summary>Sequences that run at once.</summary>
    public const int MaxRunning = 64;

    private readonly InferenceServerHost _host;
    private readonly string _folder;

    private GpuServer(InferenceServerHost host, ModelDimensions shape, string folder)
    {
        _host = host;
        _folder = folder;
        Shape = shape;
        Client = new InferenceClient(host.GrpcAddress.ToString());
    }

    public ModelDimensions Shape { get; }

    public InferenceClient Client { get; }

    public InferenceEngine Engine => _host.Services.GetRequiredService<InferenceEngine>();

    public AdapterCache Cache => _host.Services.GetRequiredService<AdapterCache>();

    public AdapterCatalog Catalog => _host.Services.GetRequiredService<AdapterCatalog>();

    public IComputePlatform Platform => _host.Services.GetRequiredService<IComputePlatform>();

    public TransformerModel Model => _host.Services.GetRequiredService<LanguageModel>().Transformer;

    /// <summary>Bytes of keys and values of one token as this device keeps them.</summary>
    public long KvBytesPerToken => Shape.KvBytesPerToken(Platform.Serving.KeyValueFormat == WeightFormat.BF16 ? 2 : sizeof(float));

    /// <summary>Writes the weights and starts.</summary>
    /// <param name="run">The stage; its folder takes the files, until the server is disposed of.</param>
    /// <param name="shape">The model.</param>
    /// <param name="kvTokens">Tokens whose keys and values have room; null for the server's own way, memory that they share with adapters.</param>
    /// <param name="more">Further options of the server's command line.</param>
    public static async Task<GpuServer> StartAsync(StageRun run, ModelDimensions shape, int? kvTokens, params IReadOnlyList<string> more)
    {
        string folder = run.Folder(shape.Name);
        ModelFolder.Write(shape, Path.Combine(folder, "model"));
        string[] memory = kvTokens is { } tokens ? ["--kv-memory", Text(shape.KvBytesPerToken(sizeof(float)) * tokens)] : [];
        InferenceServerHost host = InferenceServerHost.Build(
        [
            "--model", Path.Combine(folder, "model"), "--data", Path.Combine(folder, "data"), "--grpc", "http://127.0.0.1:0", "--http", ServerOptions.None,
            "--device", run.Options.Device, "--log-level", "warning", "--packed-cache", "off", "--training", "false", "--max-length", "8192",
            "--max-batch-tokens", Text(StepTokens), "--max-running", Text(MaxRunning), .. memory,
            "--kernel-cache", Path.Combine(run.Options.Work, "kernels"), "--cuda-libraries", run.Options.CudaLibraries, .. more,
        ]);
        await host.StartAsync();
        await host.Ready;
        return new GpuServer(host, shape, folder);
    }

    /// <summary>Takes adapters into the catalogue, from <paramref name="first"/> on, until there are enough or the time is over.</summary>
    /// <returns>How many there are.</returns>
    public int AddAdapters(int first, int count, Func<bool> goesOn)
    {
        // Each is written, taken through the same door as an upload, and removed: on the disk there is one copy of each.
        int made = first;
        Parallel.For(first, count, new ParallelOptions { MaxDegreeOfParallelism = Math.Min(8, Environment.ProcessorCount) }, (number, loop) =>
        {
            if (!goesOn())
            {
                loop.Stop();
                return;
            }

            string folder = Path.Combine(_folder, "upload-" + AdapterFiles.NameOf(number));
            AdapterFiles.Write(Shape, number, folder);
            Catalog.ImportFolder(AdapterFiles.NameOf(number), folder);
            Directory.Delete(folder, recursive: true);
            Interlocked.Increment(ref made);
        });
        return made;
    }

    public AdapterId AdapterId(int number) => Catalog.Get(AdapterFiles.NameOf(number)).Id;

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _host.StopAsync();
        await _host.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
