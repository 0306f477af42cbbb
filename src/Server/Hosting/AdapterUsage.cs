using System.Collections.Concurrent;
using InferenceServer.AdapterStore;

namespace InferenceServer.Server.Hosting;

/// <summary>
/// How often each adapter was asked for since the server started, and when last. Only adapters that exist are counted, so it stays small.
/// </summary>
public sealed class AdapterUsage(TimeProvider time)
{
    private readonly ConcurrentDictionary<AdapterId, Entry> _entries = new();

    /// <summary>Counts a request that was taken.</summary>
    /// <param name="adapters">name@digest of the adapters that serve it.</param>
    public void Count(IReadOnlyList<string> adapters)
    {
        ArgumentNullException.ThrowIfNull(adapters);
        long now = time.GetUtcNow().Ticks;
        foreach (string adapter in adapters)
        {
            if (AdapterId.TryParse(adapter, out AdapterId id))
            {
                Entry entry = _entries.GetOrAdd(id, _ => new Entry());
                Interlocked.Increment(ref entry.Requests);
                Volatile.Write(ref entry.LastUsedTicks, now);
            }
        }
    }

    /// <summary>Requests so far, and the time of the last one; null when there was none.</summary>
    public (long Requests, DateTimeOffset? LastUsed) Find(AdapterId id)
    {
        return _entries.TryGetValue(id, out Entry? entry)
            ? (Interlocked.Read(ref entry.Requests), new DateTimeOffset(Volatile.Read(ref entry.LastUsedTicks), TimeSpan.Zero))
            : (0, null);
    }

    /// <summary>Forgets an adapter that was deleted.</summary>
    public void Remove(AdapterId id)
    {
        _entries.TryRemove(id, out _);
    }

    private sealed class Entry
    {
        public long Requests;
        public long LastUsedTicks;
    }
}
