using System.Diagnostics;
using Grpc.Core;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Merging;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Hosting;
using InferenceServer.Server.Uploads;

namespace InferenceServer.Server.Grpc;

/// <summary>Adapters at run time, over gRPC.</summary>
public sealed class AdapterServiceImpl(
    ServingGate gate, RpcGuard guard, UploadReceiver receiver, UploadSlots slots, ILogger<AdapterServiceImpl> log)
    : AdapterService.AdapterServiceBase
{
    private const int MaxPageSize = 1000;

    public override Task<UploadResponse> Upload(IAsyncStreamReader<UploadRequest> requestStream, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            Serving serving = gate.Current;
            using IDisposable slot = slots.Take();
            long start = Stopwatch.GetTimestamp();
            UploadHeader header = await receiver.ReceiveHeaderAsync(requestStream, token);
            using AdapterUpload upload = serving.Catalog.BeginUpload(header.Name, Mode(header));
            await receiver.ReceiveFilesAsync(requestStream, upload, token);
            AdapterRecord record = upload.Commit(token);
            ServerLog.Uploaded(log, record.Name, record.Digest, upload.Bytes, Stopwatch.GetElapsedTime(start).TotalSeconds);
            if (header.Pin)
            {
                await serving.Pins.PinAsync(record.Id, token);
            }
            else if (header.Load)
            {
                await serving.Cache.PreloadAsync(record.Id, token);
            }

            return new UploadResponse { Adapter = Describe(serving, record), AlreadyPresent = upload.WasAlreadyPresent };
        });
    }

    public override Task<ListAdaptersResponse> List(ListAdaptersRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, _ =>
        {
            Serving serving = gate.Current;
            int size = request.PageSize switch
            {
                < 0 => throw new InvalidRequestException("page_size", $"{request.PageSize} is negative"),
                0 => int.MaxValue,
                _ => Math.Min(request.PageSize, MaxPageSize),
            };

            // By name and digest: a place in this order stays one whatever comes and goes between two pages.
            IEnumerable<AdapterRecord> records = (request.AllVersions ? serving.Catalog.ListAll() : serving.Catalog.List())
                .OrderBy(record => record.Name, StringComparer.Ordinal).ThenBy(record => record.Digest, StringComparer.Ordinal);
            if (request.PageToken.Length > 0)
            {
                AdapterId last = AdapterId.TryParse(request.PageToken, out AdapterId id)
                    ? id
                    : throw new InvalidRequestException("page_token", "is not one that this server gave");
                records = records.Where(record => IsAfter(record.Id, last));
            }

            List<AdapterRecord> page = [.. records.Take(size == int.MaxValue ? size : size + 1)];
            bool more = page.Count > size;
            AdapterInfos infos = new(serving);
            ListAdaptersResponse response = new();
            response.Adapters.Add(page.Take(size).Select(infos.Describe));
            response.NextPageToken = more ? page[size - 1].Id.ToString() : "";
            return Task.FromResult(response);
        });
    }

    public override Task<AdapterInfo> Get(GetAdapterRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, _ =>
        {
            Serving serving = gate.Current;
            return Task.FromResult(Describe(serving, Find(serving, request.Adapter)));
        });
    }

    public override Task<AdapterInfo> Load(LoadAdapterRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            Serving serving = gate.Current;
            AdapterRecord record = Find(serving, request.Adapter);
            await serving.Cache.PreloadAsync(record.Id, token);
            ServerLog.AdapterChanged(log, record.Id.ToString(), "loaded");
            return Describe(serving, record);
        });
    }

    public override Task<UnloadAdapterResponse> Unload(UnloadAdapterRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            Serving serving = gate.Current;
            AdapterId id = Find(serving, request.Adapter).Id;
            serving.Engine.ThrowIfMerged(id);
            serving.Pins.Unpin(id);
            UnloadResult freed = await serving.Cache.UnloadAsync(id, token);
            ServerLog.AdapterChanged(log, id.ToString(), "unloaded");
            return new UnloadAdapterResponse { FreedHostBytes = freed.HostBytes, FreedDeviceBytes = freed.DeviceBytes };
        });
    }

    public override Task<DeleteAdapterResponse> Delete(DeleteAdapterRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            Serving serving = gate.Current;
            IReadOnlyList<AdapterRecord> doomed = ToDelete(serving, request);
            foreach (AdapterRecord record in doomed)
            {
                serving.Engine.ThrowIfMerged(record.Id);
            }

            // From the catalog first: nobody gets hold of it any more while those who have it finish.
            foreach (AdapterRecord record in doomed)
            {
                serving.Catalog.Delete(record.Id);
                serving.Usage.Remove(record.Id);
                ServerLog.AdapterChanged(log, record.Id.ToString(), "deleted");
            }

            foreach (AdapterRecord record in doomed)
            {
                await serving.Cache.UnloadAsync(record.Id, token);
            }

            return new DeleteAdapterResponse { DeletedVersions = doomed.Count, FreedDiskBytes = doomed.Sum(record => record.DiskBytes) };
        });
    }

    public override Task<AdapterInfo> Pin(PinAdapterRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            Serving serving = gate.Current;
            AdapterRecord record = Find(serving, request.Adapter);
            if (request.Pinned)
            {
                await serving.Pins.PinAsync(record.Id, token);
            }
            else
            {
                serving.Pins.Unpin(record.Id);
            }

            ServerLog.AdapterChanged(log, record.Id.ToString(), request.Pinned ? "pinned" : "unpinned");
            return Describe(serving, record);
        });
    }

    public override Task<AdapterInfo> Activate(ActivateAdapterRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, _ =>
        {
            Serving serving = gate.Current;
            AdapterId id = AdapterId.TryParse(request.Adapter, out AdapterId parsed)
                ? parsed
                : throw new InvalidRequestException("adapter", "has to be name@digest: activating chooses among versions");
            AdapterRecord record = serving.Catalog.Activate(id.Name, id.Digest);
            ServerLog.AdapterChanged(log, id.ToString(), "is current");
            return Task.FromResult(Describe(serving, record));
        });
    }

    public override Task<MergeAdapterResponse> Merge(MergeAdapterRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            Serving serving = gate.Current;
            AdapterRecord record = Find(serving, request.Adapter);
            MergedAdapter merged = await serving.Engine.MergeAsync(record.Id, token);
            return new MergeAdapterResponse
            {
                Adapter = Describe(serving, record),
                MergedModules = merged.ModuleCount,
                ExtraBytes = merged.ExtraBytes,
                Seconds = merged.Duration.TotalSeconds,
                LogitChange = merged.LogitChange is { } change
                    ? new Protocol.V1.LogitChange { Tenant = change.Tenant, Others = change.Others, LargestLogit = change.Largest }
                    : null,
            };
        });
    }

    public override Task<UnmergeAdapterResponse> Unmerge(UnmergeAdapterRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            Serving serving = gate.Current;
            if (request.Adapter.Length > 0 && Find(serving, request.Adapter).Id is { } named && serving.Engine.MergedAdapter?.Id != named)
            {
                throw new FailedPreconditionException($"'{named}' is not merged");
            }

            MergedAdapter merged =
                await serving.Engine.UnmergeAsync(token) ?? throw new FailedPreconditionException("no adapter is merged");
            return new UnmergeAdapterResponse { Adapter = merged.Id.ToString(), FreedBytes = merged.ExtraBytes };
        });
    }

    private static UploadMode Mode(UploadHeader header)
    {
        return (header.MustBeNew ? UploadMode.MustBeNew : UploadMode.None) | (header.StageOnly ? UploadMode.StageOnly : UploadMode.None);
    }

    private static AdapterInfo Describe(Serving serving, AdapterRecord record)
    {
        return new AdapterInfos(serving).Describe(record);
    }

    private static AdapterRecord Find(Serving serving, string adapter)
    {
        return adapter.Length > 0 ? serving.Catalog.Get(adapter) : throw new InvalidRequestException("adapter", "is empty");
    }

    private static bool IsAfter(AdapterId id, AdapterId last)
    {
        int byName = string.CompareOrdinal(id.Name, last.Name);
        return byName > 0 || (byName == 0 && string.CompareOrdinal(id.Digest, last.Digest) > 0);
    }

    private static IReadOnlyList<AdapterRecord> ToDelete(Serving serving, DeleteAdapterRequest request)
    {
        if (AdapterId.TryParse(request.Adapter, out _))
        {
            return [Find(serving, request.Adapter)];
        }

        IReadOnlyList<AdapterRecord> versions = serving.Catalog.Versions(request.Adapter);
        return versions.Count switch
        {
            0 => [Find(serving, request.Adapter)],
            1 => versions,
            _ when request.AllVersions => versions,
            _ => throw new FailedPreconditionException(
                $"'{request.Adapter}' has {versions.Count} versions; set all_versions, or name one of them as {versions[0].Id}"),
        };
    }
}
