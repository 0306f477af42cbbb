using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Cache;

/// <summary>What the cache knows of one adapter; every member is guarded by the cache's lock.</summary>
internal sealed class CacheEntry
{
    public CacheEntry(AdapterId id, long hostBytes, long deviceBytes)
    {
        Id = id;
        HostBytes = hostBytes;
        DeviceBytes = deviceBytes;
        HostNode = new LinkedListNode<CacheEntry>(this);
        DeviceNode = new LinkedListNode<CacheEntry>(this);
    }

    public AdapterId Id { get; }

    /// <summary>Host bytes held or, before it is loaded, expected.</summary>
    public long HostBytes { get; set; }

    /// <summary>Device bytes held or, before it is there, expected.</summary>
    public long DeviceBytes { get; set; }

    /// <summary>What it turned out to need beyond that, where the memory is shared and was in pieces; 0 once it is there.</summary>
    public long Shortage { get; set; }

    /// <summary>The parsed adapter while it is in the host tier.</summary>
    public AdapterWeights? Host { get; set; }

    /// <summary>The adapter on the device while it is resident.</summary>
    public DeviceAdapter? Device { get; set; }

    public int Leases { get; set; }

    public long Hits { get; set; }

    public DateTimeOffset LastUsed { get; set; }

    /// <summary>Never evicted from the device.</summary>
    public bool IsPinned { get; set; }

    /// <summary>In the queue for room.</summary>
    public bool IsQueued { get; set; }

    /// <summary>A background thread reads or copies it.</summary>
    public bool IsLoading { get; set; }

    /// <summary>Must make way for the head of the queue: no new leases until it was the turn of those who wait.</summary>
    public bool IsRetiring { get; set; }

    /// <summary>Set once it is being unloaded; completes when its memory is free.</summary>
    public TaskCompletionSource<UnloadResult>? Drain { get; set; }

    /// <summary>What the unload freed so far.</summary>
    public UnloadResult Freed { get; set; }

    /// <summary>Times that device memory of it is on its way to be freed.</summary>
    public int PendingReleases { get; set; }

    public List<LeaseWaiter> Waiters { get; } = [];

    public LinkedListNode<CacheEntry> HostNode { get; }

    public LinkedListNode<CacheEntry> DeviceNode { get; }

    public AdapterState State =>
        Drain is not null ? AdapterState.Draining
        : Device is not null ? AdapterState.Resident
        : IsLoading || IsQueued ? AdapterState.Loading
        : Host is not null ? AdapterState.Host
        : AdapterState.Validated;
}
