using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Cache;

/// <summary>
/// Keeps adapters in three tiers: disk (the source), host memory and device, the latter two least recently used first out, by bytes. A
/// lease keeps an adapter on the device. Loads run in the background, a few at once; those who wait for room are served in the order
/// in which their adapters were first asked for, so none starves.
/// </summary>
/// <remarks>
/// When the device is full of leased adapters, the least recently used ones retire for the head of the queue: they take no new leases,
/// go when theirs are returned, and whoever asks for them meanwhile queues behind. Who gets room is decided in
/// AdapterCache.Placement.cs, who makes it in AdapterCache.Eviction.cs.
/// </remarks>
public sealed partial class AdapterCache : IDisposable
{
    private readonly IAdapterSource _source;
    private readonly Func<AdapterWeights, DeviceAdapter> _createDeviceAdapter;
    private readonly WeightFormat _format;
    private readonly AdapterCacheOptions _options;
    private readonly TimeProvider _time;
    private readonly Action<Action> _run;
    private readonly Action _pump;
    private readonly AdapterCacheMetrics _metrics;
    private readonly CancellationTokenSource _shutdown = new();

    // All below is guarded by _lock.
    private readonly Lock _lock = new();
    private readonly Dictionary<AdapterId, CacheEntry> _entries = [];
    private readonly List<CacheEntry> _draining = [];
    private readonly Stack<LeaseSlot> _freeSlots = new();
    private AdapterCacheStatistics _totals;
    private IAdapterRoom? _room;
    private bool _isDisposed;

    /// <param name="source">Where adapters come from.</param>
    /// <param name="backend">The device; only <see cref="IComputeBackend.CreateAdapter"/> or its shared twin is called, from background threads.</param>
    /// <param name="format">How matrices are kept on the device.</param>
    /// <param name="options">Budgets.</param>
    /// <param name="time">The clock of "last used" and of load times.</param>
    public AdapterCache(
        IAdapterSource source,
        IComputeBackend backend,
        WeightFormat format,
        AdapterCacheOptions options,
        TimeProvider? time = null)
        : this(source, CreatorOf(backend, format), format, options, time ?? TimeProvider.System, RunOnThreadPool)
    {
    }

    internal AdapterCache(
        IAdapterSource source,
        Func<AdapterWeights, DeviceAdapter> createDeviceAdapter,
        WeightFormat format,
        AdapterCacheOptions options,
        TimeProvider time,
        Action<Action> run)
    {
        _source = source;
        _createDeviceAdapter = createDeviceAdapter;
        _format = format;
        _options = options;
        _time = time;
        _run = run;
        _pump = Pump;
        _metrics = new AdapterCacheMetrics(this, options);
    }

    /// <summary>Most device bytes that adapters can ever have.</summary>
    public long MaxDeviceBytes
    {
        get
        {
            lock (_lock)
            {
                return MaxDevice;
            }
        }
    }

    // Lock held.
    private long MaxDevice => _room is null ? _options.DeviceBudgetBytes : _room.MaxBytes + _deviceApart;

    // Lock held.
    private long DeviceLimit => _room is null ? _options.DeviceBudgetBytes : _room.LimitBytes + _deviceApart;

    /// <summary>From here on adapters share their device memory with others, and the device budget is what they need not give to those.</summary>
    public void Share(IAdapterRoom room)
    {
        ArgumentNullException.ThrowIfNull(room);
        lock (_lock)
        {
            _room = room;
        }

        room.Changed = () =>
        {
            lock (_lock)
            {
                SchedulePump();
            }
        };
    }

    /// <summary>
    /// Frees adapters that nobody has a lease on and that are not pinned, least recently used first, for the others who share the memory; on the
    /// caller's thread. How much memory that gives depends on who else has pages in the same chunks: look, and call again.
    /// </summary>
    /// <param name="byteCount">About so many bytes.</param>
    /// <returns>False when adapters above their floor have not so many; nothing is freed then.</returns>
    public bool TryEvictIdle(long byteCount)
    {
        List<(CacheEntry Entry, DeviceAdapter Device, long Bytes)> releases;
        lock (_lock)
        {
            if (_room is null || _isDisposed || !EvictIdleFor(byteCount, _room))
            {
                return false;
            }

            releases = _releases;
            _releases = [];
        }

        Free(releases);
        return true;
    }

    /// <summary>Waits until an adapter is on the device and leases it.</summary>
    /// <exception cref="AdapterNotFoundException">There is no such version.</exception>
    /// <exception cref="AdapterFormatException">Its files are damaged; only those who waited for this load see it.</exception>
    /// <exception cref="CapacityExceededException">It is larger than a whole budget, or than what pinned adapters leave of it.</exception>
    public ValueTask<AdapterLease> AcquireAsync(AdapterId id, CancellationToken cancellation = default)
    {
        if (cancellation.IsCancellationRequested)
        {
            return ValueTask.FromCanceled<AdapterLease>(cancellation);
        }

        try
        {
            if (!TryAcquireOrJoin(id, out AdapterLease lease, out LeaseWaiter? waiter))
            {
                // Not known here: ask the source, which has a lock of its own.
                AdapterFootprint footprint = _source.Measure(id);
                CheckBudgets(id, footprint);
                waiter = AddAndJoin(id, footprint, out lease);
            }

            return waiter is null ? ValueTask.FromResult(lease) : WaitFor(waiter, cancellation);
        }
        catch (Exception error) when (error is AdapterNotFoundException or CapacityExceededException)
        {
            return ValueTask.FromException<AdapterLease>(error);
        }
    }

    /// <summary>Leases an adapter if it is on the device now; allocates nothing.</summary>
    public bool TryAcquireResident(AdapterId id, out AdapterLease lease)
    {
        lock (_lock)
        {
            lease = default;
            return !_isDisposed && _entries.TryGetValue(id, out CacheEntry? entry) && TryLeaseResident(entry, out lease);
        }
    }

    /// <summary>Brings an adapter to the device without keeping it there.</summary>
    public async Task PreloadAsync(AdapterId id, CancellationToken cancellation = default)
    {
        using AdapterLease lease = await AcquireAsync(id, cancellation);
    }

    /// <summary>Brings an adapter to the device and keeps it there until <see cref="Unpin"/> or <see cref="UnloadAsync"/>.</summary>
    public async Task PinAsync(AdapterId id, CancellationToken cancellation = default)
    {
        using AdapterLease lease = await AcquireAsync(id, cancellation);
        lock (_lock)
        {
            if (_entries.TryGetValue(id, out CacheEntry? entry) && entry.Device is not null)
            {
                entry.IsPinned = true;
            }
        }
    }

    /// <summary>Lets a pinned adapter be evicted again; false when it was not pinned.</summary>
    public bool Unpin(AdapterId id)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue(id, out CacheEntry? entry) || !entry.IsPinned)
            {
                return false;
            }

            entry.IsPinned = false;
            SchedulePump();
            return true;
        }
    }

    /// <summary>
    /// Frees an adapter's memory in both tiers once the leases on it, and the callers that already wait for it, are done. Whoever asks
    /// for it from now on starts a fresh load.
    /// </summary>
    /// <param name="id">The adapter.</param>
    /// <param name="cancellation">Stops the waiting; the unload goes on.</param>
    /// <returns>Bytes freed by tier; zeros when it was not in memory.</returns>
    public async Task<UnloadResult> UnloadAsync(AdapterId id, CancellationToken cancellation = default)
    {
        Task<UnloadResult> drained;
        lock (_lock)
        {
            if (!_entries.Remove(id, out CacheEntry? entry))
            {
                entry = _draining.Find(other => other.Id == id);
            }
            else
            {
                BeginDrain(entry);
            }

            drained = entry is null ? Task.FromResult(default(UnloadResult)) : entry.Drain!.Task;
        }

        return await drained.WaitAsync(cancellation);
    }

    /// <summary>What the cache holds now; adapters that are on disk only are not among it.</summary>
    public IReadOnlyList<AdapterSnapshot> Snapshot()
    {
        lock (_lock)
        {
            return [.. _entries.Values.Concat(_draining).Select(entry => new AdapterSnapshot(
                entry.Id,
                entry.State,
                entry.Host is null ? 0 : entry.HostBytes,
                entry.Device is null ? 0 : entry.DeviceBytes,
                entry.Leases,
                entry.Waiters.Count,
                entry.IsPinned,
                entry.Hits,
                entry.LastUsed))];
        }
    }

    /// <summary>Totals and present use.</summary>
    public AdapterCacheStatistics GetStatistics()
    {
        lock (_lock)
        {
            return _totals with
            {
                HostBytes = _hostUsed,
                DeviceBytes = _deviceUsed,
                HostCount = _hostLru.Count,
                DeviceCount = _deviceLru.Count,
                Queued = _queue.Count,
            };
        }
    }

    /// <summary>Frees everything; steps that use adapters must have ended. Callers that wait are told that the cache is gone.</summary>
    public void Dispose()
    {
        List<DeviceAdapter> devices = [];
        lock (_lock)
        {
            if (_isDisposed)
            {
                return;
            }

            _isDisposed = true;
            foreach (CacheEntry entry in _entries.Values.Concat(_draining).Concat(_queue).Distinct())
            {
                FailWaiters(entry, new ObjectDisposedException(nameof(AdapterCache)));
                entry.Drain?.TrySetResult(entry.Freed);
                if (entry.Device is { } device)
                {
                    devices.Add(device);
                    entry.Device = null;
                }
            }

            devices.AddRange(_releases.Select(release => release.Device));
            _releases.Clear();
            _queue.Clear();
        }

        _shutdown.Cancel();
        devices.ForEach(device => device.Dispose());
        _metrics.Dispose();
    }

    internal void Release(LeaseSlot slot, long version)
    {
        lock (_lock)
        {
            if (slot.Version != version || slot.Entry is not { } entry)
            {
                return;
            }

            slot.Version++;
            slot.Entry = null;
            _freeSlots.Push(slot);
            entry.Leases--;
            if (entry.Leases > 0 || _isDisposed)
            {
                return;
            }

            if (entry.Drain is not null)
            {
                ContinueDrain(entry);
            }
            else if (_queue.Count > 0 || _deviceUsed > DeviceLimit)
            {
                SchedulePump();
            }
        }
    }

    internal void Cancel(LeaseWaiter waiter, CancellationToken cancellation)
    {
        lock (_lock)
        {
            if (waiter.IsDone)
            {
                return;
            }

            waiter.IsDone = true;
            waiter.Entry.Waiters.Remove(waiter);
            SchedulePump();
        }

        waiter.Completion.TrySetCanceled(cancellation);
    }

    private static Func<AdapterWeights, DeviceAdapter> CreatorOf(IComputeBackend backend, WeightFormat format) =>
        backend is ISharedMemoryBackend sharing
            ? weights => sharing.CreateSharedAdapter(weights, format)
            : weights => backend.CreateAdapter(weights, format);

    private static void RunOnThreadPool(Action work) => ThreadPool.UnsafeQueueUserWorkItem(static action => action(), work, preferLocal: false);

    // False when the cache knows nothing of the adapter.
    private bool TryAcquireOrJoin(AdapterId id, out AdapterLease lease, out LeaseWaiter? waiter)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            lease = default;
            waiter = null;
            if (!_entries.TryGetValue(id, out CacheEntry? entry))
            {
                return false;
            }

            if (!TryLeaseResident(entry, out lease))
            {
                waiter = Join(entry);
            }

            return true;
        }
    }

    private LeaseWaiter? AddAndJoin(AdapterId id, AdapterFootprint footprint, out AdapterLease lease)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            lease = default;
            if (!_entries.TryGetValue(id, out CacheEntry? entry))
            {
                entry = new CacheEntry(id, footprint.HostBytes, footprint.DeviceBytes(_format));
                _entries.Add(id, entry);
            }

            // Another caller may have brought it here meanwhile.
            return TryLeaseResident(entry, out lease) ? null : Join(entry);
        }
    }

    private LeaseWaiter Join(CacheEntry entry)
    {
        _totals = entry.Host is null ? _totals with { DiskLoads = _totals.DiskLoads + 1 } : _totals with { HostHits = _totals.HostHits + 1 };
        LeaseWaiter waiter = new(this, entry);
        entry.Waiters.Add(waiter);
        if (!entry.IsQueued && !entry.IsLoading)
        {
            entry.IsQueued = true;
            _queue.AddLast(entry);
        }

        SchedulePump();
        return waiter;
    }

    private ValueTask<AdapterLease> WaitFor(LeaseWaiter waiter, CancellationToken cancellation)
    {
        if (cancellation.CanBeCanceled)
        {
            // Outside the lock: an already cancelled token calls back at once.
            CancellationTokenRegistration registration =
                cancellation.UnsafeRegister(static (state, token) => ((LeaseWaiter)state!).Cancel(token), waiter);
            lock (_lock)
            {
                waiter.Registration = registration;
                if (waiter.IsDone)
                {
                    registration.Unregister();
                }
            }
        }

        return new ValueTask<AdapterLease>(waiter.Completion.Task);
    }

    private bool TryLeaseResident(CacheEntry entry, out AdapterLease lease)
    {
        if (entry.Device is null || entry.IsRetiring)
        {
            lease = default;
            return false;
        }

        lease = Lease(entry);
        _totals = _totals with { DeviceHits = _totals.DeviceHits + 1 };
        return true;
    }

    private AdapterLease Lease(CacheEntry entry)
    {
        if (!_freeSlots.TryPop(out LeaseSlot? slot))
        {
            slot = new LeaseSlot(this);
        }

        slot.Entry = entry;
        entry.Leases++;
        entry.Hits++;
        entry.LastUsed = _time.GetUtcNow();
        MoveToEnd(_deviceLru, entry.DeviceNode);
        MoveToEnd(_hostLru, entry.HostNode);
        return new AdapterLease(slot);
    }

    private void CheckBudgets(AdapterId id, AdapterFootprint footprint)
    {
        long deviceBytes = footprint.DeviceBytes(_format);
        long most = MaxDeviceBytes;
        if (deviceBytes > most)
        {
            throw new CapacityExceededException($"adapter '{id}' takes {deviceBytes} device bytes, {DeviceLimitName} is {most}", deviceBytes, most);
        }

        if (footprint.HostBytes > _options.HostBudgetBytes)
        {
            throw new CapacityExceededException(
                $"adapter '{id}' takes {footprint.HostBytes} host bytes, HostBudgetBytes is {_options.HostBudgetBytes}",
                footprint.HostBytes,
                _options.HostBudgetBytes);
        }
    }
}
