using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Cache;

/// <content>What becomes of one adapter: its load, those who wait for it, its unload. Everything called with the lock held says so.</content>
public sealed partial class AdapterCache
{
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
}
