using InferenceServer.Models.PackedWeights;

namespace InferenceServer.Server.Hosting;

/// <summary>Logs what becomes of the cache of packed weights.</summary>
internal sealed class PackedCacheLog(ILogger log) : IProgress<PackedCacheEvent>
{
    public void Report(PackedCacheEvent value)
    {
        switch (value.Kind)
        {
            case PackedCacheEventKind.Used:
                ServerLog.PackedUsed(log, value.Detail, value.File);
                break;
            case PackedCacheEventKind.Refused:
                ServerLog.PackedRefused(log, value.File, value.Detail);
                break;
            case PackedCacheEventKind.Saved:
                ServerLog.PackedSaved(log, value.Detail, value.File);
                break;
            case PackedCacheEventKind.NotSaved:
                ServerLog.PackedNotSaved(log, value.File, value.Detail);
                break;
            default:
                ServerLog.PackedEvicted(log, value.File, value.Detail);
                break;
        }
    }
}
