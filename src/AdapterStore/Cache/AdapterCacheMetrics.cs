using System.Diagnostics.Metrics;

namespace InferenceServer.AdapterStore.Cache;

/// <summary>
/// The cache's instruments, meter <c>InferenceServer.Adapters</c>. Only the residency gauge names adapters, a bounded number of them.
/// </summary>
internal sealed class AdapterCacheMetrics : IDisposable
{
    private static readonly KeyValuePair<string, object?> s_device = new("tier", "device");
    private static readonly KeyValuePair<string, object?> s_host = new("tier", "host");
    private static readonly KeyValuePair<string, object?> s_disk = new("tier", "disk");

    private readonly AdapterCache _cache;
    private readonly AdapterCacheOptions _options;
    private readonly Meter _meter = new("InferenceServer.Adapters");
    private readonly Histogram<double> _loadDuration;

    public AdapterCacheMetrics(AdapterCache cache, AdapterCacheOptions options)
    {
        _cache = cache;
        _options = options;
        _loadDuration = _meter.CreateHistogram<double>(
            "inference.adapters.load.duration", "s", "Time to bring an adapter to the device, by the tier it came from and outcome");
        _meter.CreateObservableCounter("inference.adapters.lookups", Lookups, "{lookup}", "Leases asked for, by the tier in which the adapter was");
        _meter.CreateObservableCounter("inference.adapters.evictions", Evictions, "{adapter}", "Adapters evicted, by tier");
        _meter.CreateObservableCounter("inference.adapters.load.failures", () => _cache.GetStatistics().FailedLoads, "{load}", "Loads that failed");
        _meter.CreateObservableGauge("inference.adapters.resident", Counts, "{adapter}", "Adapters held, by tier");
        _meter.CreateObservableGauge("inference.adapters.memory.usage", Bytes, "By", "Bytes held or reserved, by tier");
        _meter.CreateObservableGauge("inference.adapters.memory.limit", Budgets, "By", "Budget, by tier");
        _meter.CreateObservableGauge("inference.adapters.queued", () => _cache.GetStatistics().Queued, "{adapter}", "Adapters that wait for room");
        _meter.CreateObservableGauge(
            "inference.adapters.loaded", Residents, "{adapter}", "1 for each adapter held, with its tier; the most recently used ones only");
    }

    public void RecordLoad(TimeSpan duration, bool isFromDisk, bool isSuccess) =>
        _loadDuration.Record(duration.TotalSeconds, isFromDisk ? s_disk : s_host, new("outcome", isSuccess ? "ok" : "failed"));

    public void Dispose() => _meter.Dispose();

    private Measurement<long>[] Lookups()
    {
        AdapterCacheStatistics now = _cache.GetStatistics();
        return [new(now.DeviceHits, s_device), new(now.HostHits, s_host), new(now.DiskLoads, s_disk)];
    }

    private Measurement<long>[] Evictions()
    {
        AdapterCacheStatistics now = _cache.GetStatistics();
        return [new(now.DeviceEvictions, s_device), new(now.HostEvictions, s_host)];
    }

    private Measurement<long>[] Counts()
    {
        AdapterCacheStatistics now = _cache.GetStatistics();
        return [new(now.DeviceCount, s_device), new(now.HostCount, s_host)];
    }

    private Measurement<long>[] Bytes()
    {
        AdapterCacheStatistics now = _cache.GetStatistics();
        return [new(now.DeviceBytes, s_device), new(now.HostBytes, s_host)];
    }

    private Measurement<long>[] Budgets() => [new(_cache.MaxDeviceBytes, s_device), new(_options.HostBudgetBytes, s_host)];

    private IEnumerable<Measurement<long>> Residents() => _cache.Snapshot()
        .Where(adapter => adapter.DeviceBytes > 0 || adapter.HostBytes > 0)
        .OrderByDescending(adapter => adapter.LastUsed)
        .Take(_options.MaxReportedAdapters)
        .Select(adapter => new Measurement<long>(
            1,
            adapter.DeviceBytes > 0 ? s_device : s_host,
            new("adapter", adapter.Id.ToString()),
            new("pinned", adapter.IsPinned ? "true" : "false")));
}
