using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Cache;

/// <content>Who gets room, who makes it, and the background work. Everything called with the lock held says so.</content>
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

    // Lock held. Bytes of the memory, in which adapters' pages leave holes, and adapters' own bytes are not the same: one share stands for the other.
    private bool EvictIdleFor(long byteCount, IAdapterRoom room)
    {
        long idle = 0;
        foreach (CacheEntry entry in _deviceLru)
        {
            idle += entry is { IsPinned: false, Leases: 0 } ? entry.Device!.SharedByteCount : 0;
        }

        double spread = (double)room.HeldBytes / Math.Max(1, _deviceUsed - _deviceApart);
        if (idle == 0 || byteCount > Math.Min(idle * spread, room.HeldBytes - room.FloorBytes))
        {
            return false;
        }

        EvictIdleDevice(_deviceUsed - _deviceReleasing - Math.Max(1, (long)(byteCount / spread)));
        return true;
    }

    private static long Apart(DeviceAdapter device) => device.ByteCount - device.SharedByteCount;

    // Lock held. What adapters have outside of the shared memory (weights that replace the base's) has the device budget to itself.
    private void EvictIdleApart()
    {
        if (_room is null || _deviceApart <= _options.DeviceBudgetBytes)
        {
            return;
        }

        long apart = _deviceLru.Sum(entry => Apart(entry.Device!));
        LinkedListNode<CacheEntry>? node = _deviceLru.First;
        while (node is not null && apart > _options.DeviceBudgetBytes)
        {
            LinkedListNode<CacheEntry>? next = node.Next;
            if (node.Value is { IsPinned: false, Leases: 0 } idle && Apart(idle.Device!) > 0)
            {
                apart -= Apart(idle.Device!);
                StartRelease(idle);
                _totals = _totals with { DeviceEvictions = _totals.DeviceEvictions + 1 };
            }

            node = next;
        }
    }

    // Lock held.
    private void EvictIdleDevice(long goal)
    {
        LinkedListNode<CacheEntry>? node = _deviceLru.First;
        while (node is not null && _deviceUsed - _deviceReleasing > goal)
        {
            LinkedListNode<CacheEntry>? next = node.Next;
            if (node.Value is { IsPinned: false, Leases: 0 } idle)
            {
                StartRelease(idle);
                _totals = _totals with { DeviceEvictions = _totals.DeviceEvictions + 1 };
            }

            node = next;
        }
    }

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

    // Lock held. Adapters that a background thread is copying from stay.
    private void EvictHost(long goal)
    {
        LinkedListNode<CacheEntry>? node = _hostLru.First;
        while (node is not null && _hostUsed > goal)
        {
            LinkedListNode<CacheEntry>? next = node.Next;
            if (node.Value is { IsLoading: false } idle)
            {
                FreeHost(idle);
                _totals = _totals with { HostEvictions = _totals.HostEvictions + 1 };
                Settle(idle);
            }

            node = next;
        }
    }

    private void Load(CacheEntry entry)
    {
        long started = _time.GetTimestamp();
        AdapterWeights? weights = null;
        DeviceAdapter? device = null;
        Exception? failure = null;
        bool isFromDisk;
        lock (_lock)
        {
            weights = entry.Host;
            isFromDisk = weights is null;
        }

        try
        {
            weights ??= _source.LoadForDevice(entry.Id, _shutdown.Token);
            device = _createDeviceAdapter(weights);
        }
        catch (Exception error)
        {
            // Whatever it is belongs to those who wait for this adapter, not to this thread.
            failure = error;
        }

        _metrics.RecordLoad(_time.GetElapsedTime(started), isFromDisk, failure is null);
        lock (_lock)
        {
            _activeLoads--;
            _deviceLoading -= entry.DeviceBytes;
            entry.IsLoading = false;
            if (_isDisposed)
            {
                device?.Dispose();
                weights?.Release();
                return;
            }

            if (isFromDisk)
            {
                _hostUsed -= entry.HostBytes;
                if (weights is not null)
                {
                    KeepHost(entry, weights);
                }
            }

            _deviceUsed -= entry.DeviceBytes;
            if (device is not null)
            {
                entry.Device = device;
                entry.DeviceBytes = device.ByteCount;
                entry.Shortage = 0;
                _deviceUsed += device.ByteCount;
                _deviceApart += Apart(device);
                if (entry.Drain is null)
                {
                    _deviceLru.AddLast(entry.DeviceNode);
                }

                GrantWaiters(entry);
            }
            else if (failure is DeviceMemoryException { IsShared: true } && _room is not null)
            {
                // The room was taken by another, or is in pieces: more of it has to come free.
                entry.Shortage += Math.Max(entry.DeviceBytes / 8, _room.ChunkBytes);
                entry.IsQueued = true;
                _queue.AddFirst(entry);
            }
            else
            {
                _totals = _totals with { FailedLoads = _totals.FailedLoads + 1 };
                FailWaiters(entry, failure!);
            }

            Settle(entry);
            SchedulePump();
        }
    }

    // Lock held.
    private void KeepHost(CacheEntry entry, AdapterWeights weights)
    {
        entry.Host = weights;
        entry.HostBytes = weights.ByteCount;
        _hostUsed += weights.ByteCount;
        _hostLru.AddLast(entry.HostNode);
    }

    // Lock held. The pump gives the memory back, which may take the system a while.
    private void FreeHost(CacheEntry entry)
    {
        _freedHosts.Add(entry.Host!);
        entry.Host = null;
        _hostUsed -= entry.HostBytes;
        _hostLru.Remove(entry.HostNode);
    }

    // Lock held. The pump disposes; until then the bytes count as used.
    private void StartRelease(CacheEntry entry)
    {
        _releases.Add((entry, entry.Device!, entry.DeviceBytes));
        entry.PendingReleases++;
        _deviceReleasing += entry.DeviceBytes;
        entry.Device = null;
        if (entry.DeviceNode.List is not null)
        {
            _deviceLru.Remove(entry.DeviceNode);
        }
    }

    // Lock held.
    private void BeginDrain(CacheEntry entry)
    {
        entry.Drain = new TaskCompletionSource<UnloadResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        entry.Freed = default;
        entry.IsPinned = false;
        entry.IsRetiring = false;
        _draining.Add(entry);
        if (entry.DeviceNode.List is not null)
        {
            // Out of the eviction order: it goes by itself. Those who queue for it while it retires are served now, because what they
            // wait for could otherwise wait for the room that it holds.
            _deviceLru.Remove(entry.DeviceNode);
            GrantWaiters(entry);
        }

        ContinueDrain(entry);
    }

    // Lock held. Frees what nobody needs any more; called again when a lease, a load or a release ends.
    private void ContinueDrain(CacheEntry entry)
    {
        if (entry.IsLoading || entry.Waiters.Count > 0 || entry.Leases > 0)
        {
            return;
        }

        if (entry.IsQueued)
        {
            Dequeue(entry);
        }

        if (entry.Host is not null)
        {
            entry.Freed = entry.Freed with { HostBytes = entry.Freed.HostBytes + entry.HostBytes };
            FreeHost(entry);
            SchedulePump();
        }

        if (entry.Device is not null)
        {
            StartRelease(entry);
            SchedulePump();
        }
        else if (entry.PendingReleases == 0 && _draining.Remove(entry))
        {
            entry.Drain!.TrySetResult(entry.Freed);
        }
    }

    // Lock held.
    private void GrantWaiters(CacheEntry entry)
    {
        foreach (LeaseWaiter waiter in entry.Waiters)
        {
            waiter.IsDone = true;
            waiter.Registration.Unregister();
            waiter.Completion.TrySetResult(Lease(entry));
        }

        entry.Waiters.Clear();
    }

    // Lock held.
    private static void FailWaiters(CacheEntry entry, Exception error)
    {
        foreach (LeaseWaiter waiter in entry.Waiters)
        {
            waiter.IsDone = true;
            waiter.Registration.Unregister();
            waiter.Completion.TrySetException(error);
        }

        entry.Waiters.Clear();
    }

    // Lock held.
    private void Dequeue(CacheEntry entry)
    {
        entry.IsQueued = false;
        _queue.Remove(entry);
    }

    // Lock held. Goes on with an unload, or forgets an adapter that is on disk only again and that nobody asks for.
    private void Settle(CacheEntry entry)
    {
        if (entry.Drain is not null)
        {
            ContinueDrain(entry);
        }
        else if (entry is { Host: null, Device: null, IsQueued: false, IsLoading: false, PendingReleases: 0, Waiters.Count: 0 })
        {
            _entries.Remove(entry.Id);
        }
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
    private static void MoveToEnd(LinkedList<CacheEntry> list, LinkedListNode<CacheEntry> node)
    {
        if (ReferenceEquals(node.List, list) && !ReferenceEquals(list.Last, node))
        {
            list.Remove(node);
            list.AddLast(node);
        }
    }
}
