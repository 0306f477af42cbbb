using Google.Protobuf.WellKnownTypes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Server.Hosting;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Grpc;

/// <summary>Puts together what the catalog, the cache and the engine know of adapters, as of the moment it is made.</summary>
internal sealed class AdapterInfos(Serving serving)
{
    private readonly Dictionary<AdapterId, AdapterSnapshot> _cached = ById(serving.Cache.Snapshot());
    private readonly AdapterId? _merged = serving.Engine.MergedAdapter?.Id;

    public V1.AdapterInfo Describe(AdapterRecord record)
    {
        AdapterManifest manifest = record.Manifest;
        AdapterSnapshot? cached = _cached.GetValueOrDefault(record.Id);
        (long requests, DateTimeOffset? lastUsed) = serving.Usage.Find(record.Id);
        V1.AdapterInfo info = new()
        {
            Name = record.Name,
            Digest = record.Digest,
            Current = serving.Catalog.TryGet(record.Name, out AdapterRecord? current) && current.Digest == record.Digest,
            State = State(cached?.State ?? AdapterState.Validated),
            Pinned = serving.Catalog.IsPinned(record.Id),
            Merged = _merged == record.Id,
            PeftType = manifest.Method.PeftType(),
            MaxRank = manifest.MaxRank,
            Parameters = manifest.Parameters,
            DiskBytes = record.DiskBytes,
            HostBytes = cached?.HostBytes ?? 0,
            DeviceBytes = cached?.DeviceBytes ?? 0,
            BaseModel = manifest.BaseModelName,
            UploadedAt = Timestamp.FromDateTimeOffset(record.CreatedAt),
            LastUsedAt = lastUsed is { } used ? Timestamp.FromDateTimeOffset(used) : null,
            Requests = requests,
            RunningRequests = cached?.Leases ?? 0,
        };
        info.Traits.Add(Traits(manifest));
        info.TargetModules.Add(manifest.TargetModules);
        return info;
    }

    /// <summary>An adapter that drains and is asked for anew is there twice; the new one counts.</summary>
    private static Dictionary<AdapterId, AdapterSnapshot> ById(IReadOnlyList<AdapterSnapshot> snapshots)
    {
        Dictionary<AdapterId, AdapterSnapshot> byId = [];
        foreach (AdapterSnapshot snapshot in snapshots.OrderBy(snapshot => snapshot.State != AdapterState.Draining))
        {
            byId[snapshot.Id] = snapshot;
        }

        return byId;
    }

    private static IEnumerable<string> Traits(AdapterManifest manifest)
    {
        if (manifest.UsesRankStabilisedScale)
        {
            yield return "rslora";
        }

        if (manifest.UsesDora)
        {
            yield return "dora";
        }

        if (manifest.ReplacedModules.Count > 0)
        {
            yield return "modules_to_save";
        }
    }

    private static V1.AdapterState State(AdapterState state)
    {
        return state switch
        {
            AdapterState.Uploaded => V1.AdapterState.Uploaded,
            AdapterState.Validated => V1.AdapterState.Validated,
            AdapterState.Host => V1.AdapterState.Host,
            AdapterState.Loading => V1.AdapterState.Loading,
            AdapterState.Resident => V1.AdapterState.Resident,
            AdapterState.Draining => V1.AdapterState.Draining,
            _ => V1.AdapterState.Gone,
        };
    }
}
