using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Cache;

/// <content>Who gets room, in which order, and the background work. Everything called with the lock held says so.</content>
public sealed partial class AdapterCache
{
    // Guarded by _lock.
    private readonly LinkedList<CacheEntry> _queue = [];
    private readonly LinkedList<CacheEntry> _hostLru = [];
    private readonly LinkedList<CacheEntry> _deviceLru = [];
    private readonly List<CacheEntry> _retiring = [];
    private List<(CacheEntry Entry, DeviceAdapter Device, long Bytes)> _releases = [];
    private List<AdapterWeights> _freedHosts = [];
    private long _hostUsed;
    private long _deviceUsed;

    // Of _deviceUsed: device memory on its way to be freed.
    private long _deviceReleasing;

    // Of _deviceUsed: outside of a memory that adapters share with others.
    private long _deviceApart;

    // Of _deviceUsed: expected by loads under way.
    private long _deviceLoading;
    private int _activeLoads;
    private bool _isPumpScheduled;

    // Lock held. Planning frees device memory, so it never runs on the caller's thread, which may be the engine's.
    private void SchedulePump()
    {
        if (!_isPumpScheduled && !_isDisposed)
        {
            _isPumpScheduled = true;
            _run(_pump);
        }
    }

    private void Pump()
    {
        while (true)
        {
            List<CacheEntry> loads = [];
            List<(CacheEntry Entry, DeviceAdapter Device, long Bytes)> releases;
            List<AdapterWeights> hosts;
            lock (_lock)
            {
                _isPumpScheduled = false;
                if (_isDisposed)
                {
                    return;
                }

                Plan(loads);
                TellRoom();
                releases = _releases;
                _releases = [];
                hosts = _freedHosts;
                _freedHosts = [];
            }

            hosts.ForEach(host => host.Release());

            foreach (CacheEntry entry in loads)
            {
                _run(() => Load(entry));
            }

            if (releases.Count == 0)
            {
                return;
            }

            // Then the plan may go on.
            Free(releases);
        }
    }

    // The room counts as free only when the memory is.
    private void Free(List<(CacheEntry Entry, DeviceAdapter Device, long Bytes)> releases)
    {
        foreach ((_, DeviceAdapter device, _) in releases)
        {
            device.Dispose();
        }

        lock (_lock)
        {
            foreach ((CacheEntry entry, DeviceAdapter device, long bytes) in releases)
            {
                _deviceApart -= Apart(device);
                _deviceReleasing -= bytes;
                _deviceUsed -= bytes;
                entry.PendingReleases--;
                entry.Freed = entry.Freed with { DeviceBytes = entry.Freed.DeviceBytes + bytes };
                Settle(entry);
            }
        }
    }

    // Lock held.
    private void Plan(List<CacheEntry> loads)
    {
        foreach (CacheEntry entry in _retiring)
        {
            entry.IsRetiring = false;
        }

        _retiring.Clear();

        // A device may need more than was expected; idle adapters make up for it.
        EvictIdleDevice(DeviceLimit);
        EvictIdleApart();
        EvictHost(_options.HostBudgetBytes);
        while (_queue.First?.Value is { } head)
        {
            if (head.Waiters.Count == 0)
            {
                Dequeue(head);
                Settle(head);
            }
            else if (head.Device is not null)
            {
                Dequeue(head);
                GrantWaiters(head);
            }
            else if (PinnedBytes() is long pinned && Needed(head) > MaxDevice - pinned)
            {
                Dequeue(head);
                long left = MaxDevice - pinned;
                FailWaiters(head, new CapacityExceededException(
                    $"adapter '{head.Id}' takes {head.DeviceBytes} device bytes, pinned adapters leave {left} of {DeviceLimitName} {MaxDevice}"
                        + (head.Shortage > 0 ? ", which is in pieces" : ""),
                    head.DeviceBytes,
                    left));
                head.Shortage = 0;
                Settle(head);
            }
            else if (_activeLoads < _options.MaxParallelLoads && HasDeviceRoom(head) && HasHostRoom(head))
            {
                Dequeue(head);
                head.IsLoading = true;
                _activeLoads++;
                _deviceUsed += head.DeviceBytes;
                _deviceLoading += head.DeviceBytes;
                _hostUsed += head.Host is null ? head.HostBytes : 0;
                loads.Add(head);
            }
            else
            {
                // Strictly in order: a small adapter behind a large one waits, or the large one might wait for ever.
                return;
            }
        }
    }

    // Lock held. Makes room or starts to; false when some of it is still to come.
    private bool HasDeviceRoom(CacheEntry head)
    {
        long needed = Needed(head);
        long limit = DeviceLimit;
        if (limit - _deviceUsed < needed && _room is { IdleBytes: > 0 })
        {
            // Before any adapter goes, those who share the memory give what they do not use; they are told at the end of the plan.
            return false;
        }

        EvictIdleDevice(limit - needed);
        long coming = limit - (_deviceUsed - _deviceReleasing);
        for (LinkedListNode<CacheEntry>? node = _deviceLru.First; node is not null && coming < needed; node = node.Next)
        {
            if (node.Value is { IsPinned: false, Leases: > 0 } leased)
            {
                leased.IsRetiring = true;
                _retiring.Add(leased);
                coming += leased.DeviceBytes;
            }
        }

        return limit - _deviceUsed >= needed;
    }

    private static long Needed(CacheEntry entry) => entry.DeviceBytes + entry.Shortage;

    // Lock held.
    private void TellRoom() => _room?.Want(_deviceLoading + (_queue.First?.Value is { } head ? Needed(head) : 0));

    // Lock held.
    private bool HasHostRoom(CacheEntry head)
    {
        if (head.Host is not null)
        {
            return true;
        }

        long budget = _options.HostBudgetBytes;
        if (_hostUsed + head.HostBytes > budget)
        {
            EvictHost((long)(budget * _options.HostLowWater) - head.HostBytes);
        }

        return _hostUsed + head.HostBytes <= budget;
    }

    // Of a message.
    private string DeviceLimitName => _room is null ? nameof(AdapterCacheOptions.DeviceBudgetBytes) : "the shared memory";

    // Lock held.
    private long PinnedBytes()
    {
        long bytes = 0;
        foreach (CacheEntry entry in _deviceLru)
        {
            bytes += entry.IsPinned ? entry.DeviceBytes : 0;
        }

        return bytes;
    }

    // Lock held.
    private void Dequeue(CacheEntry entry)
    {
        entry.IsQueued = false;
        _queue.Remove(entry);
    }
}
