namespace InferenceServer.AdapterStore.Cache;

/// <summary>One caller that waits for a lease.</summary>
internal sealed class LeaseWaiter
{
    private readonly AdapterCache _cache;

    public LeaseWaiter(AdapterCache cache, CacheEntry entry)
    {
        _cache = cache;
        Entry = entry;
    }

    public CacheEntry Entry { get; }

    public TaskCompletionSource<AdapterLease> Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Granted, failed or cancelled; guarded by the cache's lock.</summary>
    public bool IsDone { get; set; }

    /// <summary>Guarded by the cache's lock.</summary>
    public CancellationTokenRegistration Registration { get; set; }

    public void Cancel(CancellationToken cancellation) => _cache.Cancel(this, cancellation);
}
