namespace InferenceServer.AdapterStore.Cache;

/// <summary>One adapter that the cache holds, at one moment.</summary>
/// <param name="Id">Which.</param>
/// <param name="State">Where it is in its life.</param>
/// <param name="HostBytes">Host bytes held, 0 when it is not in the host tier.</param>
/// <param name="DeviceBytes">Device bytes held, 0 when it is not resident.</param>
/// <param name="Leases">Leases held on it.</param>
/// <param name="Waiting">Callers that wait for it.</param>
/// <param name="IsPinned">Whether it is never evicted.</param>
/// <param name="Hits">Leases given so far.</param>
/// <param name="LastUsed">When the last one was given.</param>
public sealed record AdapterSnapshot(
    AdapterId Id,
    AdapterState State,
    long HostBytes,
    long DeviceBytes,
    int Leases,
    int Waiting,
    bool IsPinned,
    long Hits,
    DateTimeOffset LastUsed);
