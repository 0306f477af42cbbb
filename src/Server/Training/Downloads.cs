using System.Diagnostics;
using System.Security.Cryptography;
using Google.Protobuf;
using Grpc.Core;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Engine.Errors;
using InferenceServer.Models;
using InferenceServer.Server.Hosting;
using InferenceServer.Training.Export;
using InferenceServer.Training.Jobs;
using Microsoft.Extensions.Options;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Training;

/// <summary>Sends adapters and models as files: for each its name, length and hash, then its bytes.</summary>
public sealed class Downloads(
    LanguageModel model, AdapterCatalog catalog, TrainingJobs jobs, IOptions<ServerOptions> server, ILogger<Downloads> log) : IDisposable
{
    // Each may take a model's bytes of disk.
    private const int MaxAtOnce = 2;
    private const int ChunkBytes = 512 * 1024;

    private readonly SideWork _work = new("downloads of models", MaxAtOnce);

    /// <summary>Sends an adapter as it is stored.</summary>
    public async Task SendAdapterAsync(string adapter, IServerStreamWriter<V1.FileChunk> target, CancellationToken cancellation)
    {
        AdapterRecord record = catalog.Get(NotEmpty(adapter));

        // Both are open before the first byte leaves: a version that is deleted meanwhile is sent whole.
        using FileStream config = catalog.OpenFile(record.Id, AdapterFilePart.Config);
        using FileStream weights = catalog.OpenFile(record.Id, AdapterFilePart.Weights);
        await SendAsync(PeftImporter.ConfigFileName, config, record.Config.Sha256, target, cancellation);
        await SendAsync(PeftImporter.WeightsFileName, weights, record.Weights.Sha256, target, cancellation);
    }

    /// <summary>Sends the base with an adapter folded in, or what a job of full fine-tuning made.</summary>
    public async Task SendModelAsync(V1.DownloadModelRequest request, IServerStreamWriter<V1.FileChunk> target, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(request);
        switch (request.SourceCase)
        {
            case V1.DownloadModelRequest.SourceOneofCase.Adapter:
                await SendMergedAsync(request, target, cancellation);
                break;
            case V1.DownloadModelRequest.SourceOneofCase.Job:
                await SendFolderAsync(ModelFolderOf(request.Job), target, cancellation);
                break;
            default:
                throw new InvalidRequestException("source", "is missing: give adapter or job");
        }
    }

    /// <summary>Stops what is being folded and waits for it: it reads the model's files.</summary>
    internal void Stop() => _work.Stop();

    public void Dispose() => _work.Dispose();

    private async Task SendMergedAsync(V1.DownloadModelRequest request, IServerStreamWriter<V1.FileChunk> target, CancellationToken cancellation)
    {
        AdapterRecord record = catalog.Get(NotEmpty(request.Adapter));
        using IDisposable place = _work.Enter();
        using StagedFolder staged = new(server.Value.Data);
        long start = Stopwatch.GetTimestamp();
        MergedModelOptions options = new() { IsSinglePrecision = request.SinglePrecision };
        await _work.RunAsync(Fold, cancellation);
        TrainingLog.Folded(log, record.Id.ToString(), Stopwatch.GetElapsedTime(start).TotalSeconds);
        await SendFolderAsync(staged.Folder, target, cancellation);

        bool Fold(CancellationToken token)
        {
            MergedModelExporter.Write(model.Transformer, model.Folder, catalog.Load(record.Id, token), staged.Folder, options, token);
            return true;
        }
    }

    private string ModelFolderOf(string id)
    {
        StoredJob job = jobs.Get(id);
        if (job.Spec.AdapterConfig.Length > 0)
        {
            throw new FailedPreconditionException($"training job {job.Id} trains an adapter, not a model; download '{job.Spec.Adapter}'");
        }

        return job.Current.State is JobState.Completed or JobState.StoppedEarly
            ? job.ModelFolder
            : throw new FailedPreconditionException($"training job {job.Id} is {TrainingJobs.Word(job.Current.State)} and has no model");
    }

    private static async Task SendFolderAsync(string folder, IServerStreamWriter<V1.FileChunk> target, CancellationToken cancellation)
    {
        List<FileStream> files = [];
        try
        {
            // Small files first: who cannot use the config need not wait for the weights.
            files.AddRange(Directory.GetFiles(folder, "*", SearchOption.AllDirectories)
                .OrderBy(path => path.EndsWith(".safetensors", StringComparison.Ordinal)).ThenBy(path => path, StringComparer.Ordinal)
                .Select(path => new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0)));
            foreach (FileStream file in files)
            {
                string name = Path.GetRelativePath(folder, file.Name).Replace(Path.DirectorySeparatorChar, '/');
                string hash = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellation));
                file.Position = 0;
                await SendAsync(name, file, hash, target, cancellation);
            }
        }
        finally
        {
            files.ForEach(file => file.Dispose());
        }
    }

    private static async Task SendAsync(
        string name, FileStream file, string sha256, IServerStreamWriter<V1.FileChunk> target, CancellationToken cancellation)
    {
        V1.FileStart start = new() { Name = name, SizeBytes = file.Length, Sha256 = sha256 };
        await target.WriteAsync(new V1.FileChunk { File = start }, cancellation);
        byte[] buffer = new byte[(int)Math.Min(ChunkBytes, file.Length)];
        int read;
        while ((read = await file.ReadAsync(buffer, cancellation)) > 0)
        {
            // A write returns once the message is serialised, so that the buffer can be used again.
            V1.FileChunk piece = new() { Data = UnsafeByteOperations.UnsafeWrap(buffer.AsMemory(0, read)) };
            await target.WriteAsync(piece, cancellation);
        }
    }

    private static string NotEmpty(string adapter) => adapter.Length > 0 ? adapter : throw new InvalidRequestException("adapter", "is empty");
}
