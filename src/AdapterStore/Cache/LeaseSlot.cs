namespace InferenceServer.AdapterStore.Cache;

/// <summary>What an <see cref="AdapterLease"/> points at; reused, and the version tells an old lease from the present one.</summary>
internal sealed class LeaseSlot
{
    private readonly AdapterCache _cache;

    public LeaseSlot(AdapterCache cache)
    {
        _cache = cache;
    }

    public CacheEntry? Entry { get; set; }

    public long Version { get; set; }

    public void Release(long version) => _cache.Release(this, version);
}
