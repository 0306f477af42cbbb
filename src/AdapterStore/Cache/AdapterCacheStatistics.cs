namespace InferenceServer.AdapterStore.Cache;

/// <summary>Totals of the cache since its start, and what it holds now.</summary>
/// <param name="DeviceHits">Leases asked for while the adapter was resident.</param>
/// <param name="HostHits">Leases asked for while it was in host memory only.</param>
/// <param name="DiskLoads">Leases asked for while it was on disk only.</param>
/// <param name="DeviceEvictions">Adapters evicted from the device.</param>
/// <param name="HostEvictions">Adapters evicted from host memory.</param>
/// <param name="FailedLoads">Loads that failed.</param>
/// <param name="HostBytes">Host bytes held or reserved.</param>
/// <param name="DeviceBytes">Device bytes held or reserved.</param>
/// <param name="HostCount">Adapters in host memory.</param>
/// <param name="DeviceCount">Adapters on the device.</param>
/// <param name="Queued">Adapters that wait for room.</param>
public readonly record struct AdapterCacheStatistics(
    long DeviceHits,
    long HostHits,
    long DiskLoads,
    long DeviceEvictions,
    long HostEvictions,
    long FailedLoads,
    long HostBytes,
    long DeviceBytes,
    int HostCount,
    int DeviceCount,
    int Queued);
