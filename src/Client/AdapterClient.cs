using System.Runtime.CompilerServices;
using Google.Protobuf;
using Grpc.Core;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <summary>
/// The adapters of a server. An adapter is named by "name", which means its current version, or by "name@digest". Every method throws
/// <see cref="InferenceException"/> when the server refuses or fails the call.
/// </summary>
public sealed class AdapterClient
{
    private const int ChunkBytes = 256 * 1024;

    private readonly AdapterService.AdapterServiceClient _service;
    private readonly TimeSpan _timeout;

    internal AdapterClient(AdapterService.AdapterServiceClient service, TimeSpan timeout)
    {
        _service = service;
        _timeout = timeout;
    }

    /// <summary>
    /// Uploads the PEFT adapter in <paramref name="folder"/> (adapter_config.json and adapter_model.safetensors) as
    /// <paramref name="name"/>. Returns once it is checked and durable; the same name again is a new version.
    /// </summary>
    /// <param name="name">Letters, digits, '.', '_', '-'; at most 128 characters.</param>
    /// <param name="folder">The adapter's folder on this machine.</param>
    /// <param name="options">What becomes of it; null for the defaults.</param>
    /// <param name="progress">Told after each sent piece.</param>
    /// <param name="cancellationToken">Ends the upload; the server keeps nothing of it.</param>
    /// <exception cref="FileNotFoundException">The folder lacks one of the two files.</exception>
    public async Task<UploadResponse> UploadFolderAsync(
        string name,
        string folder,
        UploadOptions? options = null,
        IProgress<UploadProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(folder);
        AdapterFolder files = AdapterFolder.Open(folder);
        UploadOptions used = options ?? new UploadOptions();
        UploadHeader header = new()
        {
            Name = name,
            MustBeNew = used.MustBeNew,
            Load = used.Load,
            Pin = used.Pin,
            StageOnly = used.StageOnly,
        };
        DateTime? deadline = used.Timeout is { } limit ? DateTime.UtcNow + limit : null;
        using AsyncClientStreamingCall<UploadRequest, UploadResponse> call = _service.Upload(headers: null, deadline, cancellationToken);
        try
        {
            await SendAsync(call.RequestStream, header, files, progress, cancellationToken).ConfigureAwait(false);
            return await call.ResponseAsync.ConfigureAwait(false);
        }
        catch (RpcException error)
        {
            throw CallErrors.Translate(error, cancellationToken);
        }
    }

    /// <summary>The adapters, by name; only the current versions unless asked.</summary>
    public async IAsyncEnumerable<AdapterInfo> ListAsync(
        bool allVersions = false, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ListAdaptersRequest request = new() { AllVersions = allVersions, PageSize = 500 };
        do
        {
            ListAdaptersResponse page = await CallAsync(
                _service.ListAsync(request, headers: null, Deadline(), cancellationToken), cancellationToken).ConfigureAwait(false);
            foreach (AdapterInfo adapter in page.Adapters)
            {
                yield return adapter;
            }

            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
    }

    public Task<AdapterInfo> GetAsync(string adapter, CancellationToken cancellationToken = default)
    {
        return CallAsync(
            _service.GetAsync(new GetAdapterRequest { Adapter = adapter }, headers: null, Deadline(), cancellationToken),
            cancellationToken);
    }

    /// <summary>Brings the adapter onto the device and returns when it is there.</summary>
    public Task<AdapterInfo> LoadAsync(string adapter, CancellationToken cancellationToken = default)
    {
        return CallAsync(
            _service.LoadAsync(new LoadAdapterRequest { Adapter = adapter }, headers: null, Deadline(), cancellationToken),
            cancellationToken);
    }

    /// <summary>Waits for running requests, then frees the adapter's memory; it stays on the server's disk.</summary>
    public Task<UnloadAdapterResponse> UnloadAsync(string adapter, CancellationToken cancellationToken = default)
    {
        return CallAsync(
            _service.UnloadAsync(new UnloadAdapterRequest { Adapter = adapter }, headers: null, Deadline(), cancellationToken),
            cancellationToken);
    }

    /// <summary>Removes a version, or with <paramref name="allVersions"/> every version of a name, from the server's disk too.</summary>
    public Task<DeleteAdapterResponse> DeleteAsync(string adapter, bool allVersions = false, CancellationToken cancellationToken = default)
    {
        DeleteAdapterRequest request = new() { Adapter = adapter, AllVersions = allVersions };
        return CallAsync(_service.DeleteAsync(request, headers: null, Deadline(), cancellationToken), cancellationToken);
    }

    /// <summary>Keeps the adapter on the device, or (<paramref name="pinned"/> false) lets it go again.</summary>
    public Task<AdapterInfo> PinAsync(string adapter, bool pinned = true, CancellationToken cancellationToken = default)
    {
        PinAdapterRequest request = new() { Adapter = adapter, Pinned = pinned };
        return CallAsync(_service.PinAsync(request, headers: null, Deadline(), cancellationToken), cancellationToken);
    }

    /// <summary>Makes the version <paramref name="adapter"/> (name@digest) the current one of its name.</summary>
    public Task<AdapterInfo> ActivateAsync(string adapter, CancellationToken cancellationToken = default)
    {
        ActivateAdapterRequest request = new() { Adapter = adapter };
        return CallAsync(_service.ActivateAsync(request, headers: null, Deadline(), cancellationToken), cancellationToken);
    }

    /// <summary>Folds the adapter into the base for one hot tenant; the others stay correct. One adapter at a time.</summary>
    public Task<MergeAdapterResponse> MergeAsync(string adapter, CancellationToken cancellationToken = default)
    {
        MergeAdapterRequest request = new() { Adapter = adapter };
        return CallAsync(_service.MergeAsync(request, headers: null, Deadline(), cancellationToken), cancellationToken);
    }

    /// <summary>Restores the base bit for bit.</summary>
    /// <param name="adapter">The merged adapter; empty for whichever is merged.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    public Task<UnmergeAdapterResponse> UnmergeAsync(string adapter = "", CancellationToken cancellationToken = default)
    {
        UnmergeAdapterRequest request = new() { Adapter = adapter };
        return CallAsync(_service.UnmergeAsync(request, headers: null, Deadline(), cancellationToken), cancellationToken);
    }

    private static async Task SendAsync(
        IClientStreamWriter<UploadRequest> stream,
        UploadHeader header,
        AdapterFolder folder,
        IProgress<UploadProgress>? progress,
        CancellationToken cancellationToken)
    {
        await stream.WriteAsync(new UploadRequest { Header = header }, cancellationToken).ConfigureAwait(false);
        byte[] buffer = new byte[ChunkBytes];
        long total = folder.TotalBytes;
        long sent = 0;
        foreach (FileInfo file in folder.Files)
        {
            FileStart start = new()
            {
                Name = file.Name,
                SizeBytes = file.Length,
                Sha256 = await AdapterFolder.HashAsync(file, cancellationToken).ConfigureAwait(false),
            };
            await stream.WriteAsync(new UploadRequest { File = start }, cancellationToken).ConfigureAwait(false);
            FileStream content = file.OpenRead();
            await using (content.ConfigureAwait(false))
            {
                int read;
                while ((read = await content.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
                {
                    // A write returns once the message is serialised, so that the buffer can be used again.
                    UploadRequest piece = new() { Data = UnsafeByteOperations.UnsafeWrap(buffer.AsMemory(0, read)) };
                    await stream.WriteAsync(piece, cancellationToken).ConfigureAwait(false);
                    sent += read;
                    progress?.Report(new UploadProgress(file.Name, sent, total));
                }
            }
        }

        await stream.CompleteAsync().ConfigureAwait(false);
    }

    private static async Task<TResponse> CallAsync<TResponse>(AsyncUnaryCall<TResponse> call, CancellationToken cancellationToken)
    {
        using (call)
        {
            try
            {
                return await call.ResponseAsync.ConfigureAwait(false);
            }
            catch (RpcException error)
            {
                throw CallErrors.Translate(error, cancellationToken);
            }
        }
    }

    private DateTime? Deadline()
    {
        return DateTime.UtcNow + _timeout;
    }
}
