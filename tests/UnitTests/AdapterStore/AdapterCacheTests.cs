using System.Diagnostics.Metrics;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using Xunit;

namespace InferenceServer.UnitTests.AdapterStore;

public sealed class AdapterCacheTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly FakeAdapters _adapters = new();
    private readonly StepRunner _runner = new();

    [Fact]
    public void Concurrent_acquires_of_one_adapter_load_it_once()
    {
        AdapterId a = _adapters.Add("a", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 1000, _runner.Add);

        Task<AdapterLease>[] acquires = [.. Enumerable.Range(0, 5).Select(_ => cache.AcquireAsync(a).AsTask())];
        _runner.RunAll();

        Assert.All(acquires, acquire => Assert.True(FakeAdapters.IsAlive(Now(acquire))));
        Assert.Single(_adapters.Loads);
        Assert.Equal(5, Assert.Single(cache.Snapshot()).Leases);
    }

    [Fact]
    public void A_leased_adapter_is_never_evicted_and_the_waiter_gets_its_room()
    {
        AdapterId a = _adapters.Add("a", 10);
        AdapterId b = _adapters.Add("b", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 40, _runner.Add);
        AdapterLease leaseA = Acquire(cache, a);

        Task<AdapterLease> waiting = cache.AcquireAsync(b).AsTask();
        _runner.RunAll();
        Assert.False(waiting.IsCompleted);
        Assert.True(FakeAdapters.IsAlive(leaseA));

        leaseA.Dispose();
        _runner.RunAll();
        Assert.True(FakeAdapters.IsAlive(Now(waiting)));
        Assert.Equal(40, _adapters.LiveDeviceBytes);
    }

    [Fact]
    public void The_least_recently_used_adapter_without_a_lease_goes_first()
    {
        AdapterId a = _adapters.Add("a", 10);
        AdapterId b = _adapters.Add("b", 10);
        AdapterId c = _adapters.Add("c", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 80, _runner.Add);
        Acquire(cache, a).Dispose();
        Acquire(cache, b).Dispose();
        Acquire(cache, a).Dispose();

        Acquire(cache, c).Dispose();

        Assert.True(cache.TryAcquireResident(a, out _));
        Assert.False(cache.TryAcquireResident(b, out _));
        Assert.True(cache.TryAcquireResident(c, out _));
    }

    [Fact]
    public void An_evicted_adapter_comes_back_from_host_memory_without_a_read()
    {
        AdapterId a = _adapters.Add("a", 10);
        AdapterId b = _adapters.Add("b", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 40, _runner.Add);
        Acquire(cache, a).Dispose();
        Acquire(cache, b).Dispose();
        Assert.Equal(AdapterState.Host, cache.Snapshot().Single(one => one.Id == a).State);

        Acquire(cache, a).Dispose();

        Assert.Equal([a, b], _adapters.Loads);
        AdapterCacheStatistics now = cache.GetStatistics();
        Assert.Equal((0, 1, 2), (now.DeviceHits, now.HostHits, now.DiskLoads));
        Assert.Equal(2, now.DeviceEvictions);
    }

    [Fact]
    public void A_waiter_is_not_starved_by_overlapping_leases_on_a_hot_adapter()
    {
        AdapterId hot = _adapters.Add("hot", 10);
        AdapterId cold = _adapters.Add("cold", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 40, _runner.Add);
        AdapterLease first = Acquire(cache, hot);
        Task<AdapterLease> waiting = cache.AcquireAsync(cold).AsTask();
        _runner.RunAll();

        // The hot adapter is asked for again before its lease ends: it must queue behind the cold one.
        Assert.False(cache.TryAcquireResident(hot, out _));
        Task<AdapterLease> again = cache.AcquireAsync(hot).AsTask();
        first.Dispose();
        _runner.RunAll();

        Assert.True(waiting.IsCompletedSuccessfully);
        Assert.False(again.IsCompleted);
        Now(waiting).Dispose();
        _runner.RunAll();
        Assert.True(FakeAdapters.IsAlive(Now(again)));
    }

    [Fact]
    public void Waiters_for_room_are_served_in_order_even_when_a_later_one_would_fit()
    {
        AdapterId held = _adapters.Add("held", 15);
        AdapterId large = _adapters.Add("large", 20);
        AdapterId small = _adapters.Add("small", 5);
        using AdapterCache cache = _adapters.CreateCache(1000, 80, _runner.Add);
        AdapterLease lease = Acquire(cache, held);

        Task<AdapterLease> forLarge = cache.AcquireAsync(large).AsTask();
        Task<AdapterLease> forSmall = cache.AcquireAsync(small).AsTask();
        _runner.RunAll();
        Assert.False(forLarge.IsCompleted);
        Assert.False(forSmall.IsCompleted);

        lease.Dispose();
        _runner.RunAll();
        Assert.True(forLarge.IsCompletedSuccessfully);
        Assert.False(forSmall.IsCompleted);
        Now(forLarge).Dispose();
        _runner.RunAll();
        Assert.True(forSmall.IsCompletedSuccessfully);
    }

    [Fact]
    public async Task A_cancelled_waiter_leaves_and_those_behind_it_move_up()
    {
        AdapterId a = _adapters.Add("a", 15);
        AdapterId b = _adapters.Add("b", 20);
        AdapterId c = _adapters.Add("c", 5);
        using AdapterCache cache = _adapters.CreateCache(1000, 80, _runner.Add);
        AdapterLease held = Acquire(cache, a);
        using CancellationTokenSource stop = new();
        Task<AdapterLease> forB = cache.AcquireAsync(b, stop.Token).AsTask();
        Task<AdapterLease> forC = cache.AcquireAsync(c).AsTask();
        _runner.RunAll();

        await stop.CancelAsync();
        _runner.RunAll();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await forB);
        Assert.True(forC.IsCompletedSuccessfully);
        Assert.True(cache.TryAcquireResident(a, out _));
        Assert.True(FakeAdapters.IsAlive(held));
        Assert.DoesNotContain(b, _adapters.Loads);
    }

    [Fact]
    public async Task An_adapter_larger_than_a_budget_is_refused_with_both_sizes()
    {
        AdapterId big = _adapters.Add("big", 100);
        using AdapterCache device = _adapters.CreateCache(1000, 399, _runner.Add);
        using AdapterCache host = _adapters.CreateCache(399, 1000, _runner.Add);

        CapacityExceededException onDevice = await Assert.ThrowsAsync<CapacityExceededException>(async () => await device.AcquireAsync(big));
        CapacityExceededException onHost = await Assert.ThrowsAsync<CapacityExceededException>(async () => await host.AcquireAsync(big));

        Assert.Contains("400 device bytes, DeviceBudgetBytes is 399", onDevice.Message, StringComparison.Ordinal);
        Assert.Contains("400 host bytes, HostBudgetBytes is 399", onHost.Message, StringComparison.Ordinal);
        Assert.Empty(device.Snapshot());
    }

    [Fact]
    public async Task A_failed_load_faults_only_its_waiters_and_may_be_tried_again()
    {
        AdapterId broken = _adapters.Add("broken", 10);
        AdapterId sound = _adapters.Add("sound", 10);
        _adapters.Broken.Add(broken);
        using AdapterCache cache = _adapters.CreateCache(1000, 1000, _runner.Add);

        Task<AdapterLease> bad = cache.AcquireAsync(broken).AsTask();
        Task<AdapterLease> good = cache.AcquireAsync(sound).AsTask();
        _runner.RunAll();

        await Assert.ThrowsAsync<AdapterFormatException>(async () => await bad);
        Assert.True(good.IsCompletedSuccessfully);
        Assert.Equal(40, cache.GetStatistics().DeviceBytes);
        _adapters.Broken.Clear();
        Assert.True(FakeAdapters.IsAlive(Acquire(cache, broken)));
    }

    [Fact]
    public async Task An_unknown_adapter_is_not_found()
    {
        using AdapterCache cache = _adapters.CreateCache(1000, 1000, _runner.Add);

        await Assert.ThrowsAsync<AdapterNotFoundException>(async () => await cache.AcquireAsync(new AdapterId("ghost", new string('0', 64))));
    }

    [Fact]
    public async Task Unload_waits_for_leases_frees_every_byte_and_says_how_many()
    {
        AdapterId a = _adapters.Add("a", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 1000, _runner.Add);
        AdapterLease lease = Acquire(cache, a);

        Task<UnloadResult> unload = cache.UnloadAsync(a);
        _runner.RunAll();
        Assert.False(unload.IsCompleted);
        Assert.Equal(AdapterState.Draining, Assert.Single(cache.Snapshot()).State);
        Assert.True(FakeAdapters.IsAlive(lease));

        lease.Dispose();
        _runner.RunAll();
        Assert.Equal(new UnloadResult(40, 40), await unload.WaitAsync(s_patience));
        Assert.Equal(0, _adapters.LiveDeviceBytes);
        AdapterCacheStatistics now = cache.GetStatistics();
        Assert.Equal((0, 0), (now.HostBytes, now.DeviceBytes));
        Assert.Empty(cache.Snapshot());
        Assert.Equal(default, await cache.UnloadAsync(a));
    }

    [Fact]
    public async Task An_adapter_asked_for_while_it_drains_is_loaded_afresh()
    {
        AdapterId a = _adapters.Add("a", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 1000, _runner.Add);
        AdapterLease old = Acquire(cache, a);
        Task<UnloadResult> unload = cache.UnloadAsync(a);

        AdapterLease fresh = Acquire(cache, a);
        old.Dispose();
        _runner.RunAll();

        Assert.Equal(40, (await unload.WaitAsync(s_patience)).DeviceBytes);
        Assert.True(FakeAdapters.IsAlive(fresh));
        Assert.Equal(40, _adapters.LiveDeviceBytes);
        Assert.Equal(2, _adapters.Loads.Count);
    }

    [Fact]
    public async Task A_pinned_adapter_stays_and_what_cannot_fit_beside_it_fails_at_once()
    {
        AdapterId pinned = _adapters.Add("pinned", 10);
        AdapterId other = _adapters.Add("other", 11);
        using AdapterCache cache = _adapters.CreateCache(1000, 80, _runner.Add);
        Task pin = cache.PinAsync(pinned);
        _runner.RunAll();
        await pin.WaitAsync(s_patience);

        Task<AdapterLease> refused = cache.AcquireAsync(other).AsTask();
        _runner.RunAll();
        CapacityExceededException error = await Assert.ThrowsAsync<CapacityExceededException>(async () => await refused);
        Assert.Contains("pinned adapters leave 40", error.Message, StringComparison.Ordinal);

        Assert.True(cache.Unpin(pinned));
        Assert.False(cache.Unpin(pinned));
        Assert.True(FakeAdapters.IsAlive(Acquire(cache, other)));
        Assert.False(cache.TryAcquireResident(pinned, out _));
    }

    [Fact]
    public void A_device_form_larger_than_expected_pushes_idle_adapters_out()
    {
        AdapterId a = _adapters.Add("a", 10);
        AdapterId b = _adapters.Add("b", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 80, _runner.Add);
        Acquire(cache, a).Dispose();
        _adapters.ExtraDeviceBytes = 8;

        AdapterLease lease = Acquire(cache, b);
        _runner.RunAll();

        Assert.True(FakeAdapters.IsAlive(lease));
        Assert.Equal(48, _adapters.LiveDeviceBytes);
        Assert.Equal(48, cache.GetStatistics().DeviceBytes);
    }

    [Fact]
    public void A_lease_disposed_twice_or_after_its_slot_was_reused_does_nothing()
    {
        AdapterId a = _adapters.Add("a", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 1000, _runner.Add);
        AdapterLease first = Acquire(cache, a);
        first.Dispose();
        AdapterLease second = Acquire(cache, a);

        first.Dispose();

        Assert.False(first.IsHeld);
        Assert.True(second.IsHeld);
        Assert.Equal(1, Assert.Single(cache.Snapshot()).Leases);
        Assert.Throws<ObjectDisposedException>(() => first.Adapter);
    }

    [Fact]
    public void Leasing_a_resident_adapter_allocates_nothing()
    {
        AdapterId a = _adapters.Add("a", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 1000, _runner.Add);
        Acquire(cache, a).Dispose();
        Lease(cache, a, 10);

        long before = GC.GetAllocatedBytesForCurrentThread();
        Lease(cache, a, 1000);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        static void Lease(AdapterCache cache, AdapterId id, int times)
        {
            for (int i = 0; i < times; i++)
            {
                if (cache.TryAcquireResident(id, out AdapterLease lease))
                {
                    lease.Dispose();
                }
            }
        }
    }

    [Fact]
    public async Task Disposing_the_cache_fails_waiters_and_frees_the_device()
    {
        AdapterId a = _adapters.Add("a", 10);
        AdapterId b = _adapters.Add("b", 20);
        AdapterCache cache = _adapters.CreateCache(1000, 80, _runner.Add);
        _ = Acquire(cache, a);
        Task<AdapterLease> waiting = cache.AcquireAsync(b).AsTask();
        _runner.RunAll();

        cache.Dispose();

        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await waiting);
        Assert.Equal(0, _adapters.LiveDeviceBytes);
    }

    [Fact]
    public void The_residency_metric_names_a_bounded_number_of_adapters()
    {
        AdapterId[] ids = [.. Enumerable.Range(0, 70).Select(i => _adapters.Add($"a{i}", 1))];
        using AdapterCache cache = _adapters.CreateCache(10_000, 10_000, _runner.Add);
        foreach (AdapterId id in ids)
        {
            Acquire(cache, id).Dispose();
        }

        Dictionary<string, List<string?>> seen = [];
        using MeterListener listener = new()
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter.Name == "InferenceServer.Adapters")
                {
                    self.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
        {
            string? adapter = null;
            foreach (KeyValuePair<string, object?> tag in tags)
            {
                adapter = tag.Key == "adapter" ? tag.Value as string : adapter;
            }

            if (!seen.TryGetValue(instrument.Name, out List<string?>? list))
            {
                seen.Add(instrument.Name, list = []);
            }

            list.Add(adapter);
        });
        listener.Start();
        listener.RecordObservableInstruments();

        Assert.Equal(64, seen["inference.adapters.loaded"].Count(name => name is not null && ids.Any(id => id.ToString() == name)));
        Assert.All(seen.Where(pair => pair.Key != "inference.adapters.loaded"), pair => Assert.All(pair.Value, Assert.Null));
    }

    [Fact]
    public async Task Many_threads_over_many_adapters_never_see_a_dead_one_or_exceed_the_budget()
    {
        AdapterId[] ids = [.. Enumerable.Range(0, 12).Select(i => _adapters.Add($"a{i}", 5 + i))];
        using AdapterCache cache = _adapters.CreateCache(400, 200);
        long worst = 0;

        async Task UseAsync(int seed)
        {
            Random random = new(seed);
            for (int i = 0; i < 200; i++)
            {
                AdapterId id = ids[random.Next(ids.Length)];
                using AdapterLease lease = await cache.AcquireAsync(id).AsTask().WaitAsync(s_patience);
                Assert.True(FakeAdapters.IsAlive(lease));
                Assert.Equal(id, lease.Id);
                InterlockedMax(ref worst, _adapters.LiveDeviceBytes);
                if (random.Next(8) == 0)
                {
                    await Task.Yield();
                }
            }
        }

        await Task.WhenAll(Enumerable.Range(0, 8).Select(seed => Task.Run(() => UseAsync(seed))));
        await Task.WhenAll(ids.Select(id => cache.UnloadAsync(id))).WaitAsync(s_patience);

        Assert.InRange(worst, 1, 200);
        Assert.Equal(0, _adapters.LiveDeviceBytes);
        Assert.Equal(0, cache.GetStatistics().HostBytes);
        Assert.True(SpinWait.SpinUntil(() => _adapters.Memory.LentBytes == 0, s_patience), $"{_adapters.Memory.LentBytes} bytes of files did not come back");
    }

    [Fact]
    public async Task A_file_that_leaves_the_host_tier_gives_its_memory_back()
    {
        AdapterId first = _adapters.Add("a", 10);
        AdapterId second = _adapters.Add("b", 10);
        using AdapterCache cache = _adapters.CreateCache(hostBytes: 40, deviceBytes: 80, run: work => work());

        await cache.PreloadAsync(first);
        long one = _adapters.Memory.LentBytes;
        await cache.PreloadAsync(second);

        Assert.True(one > 0);
        Assert.Equal(one, _adapters.Memory.LentBytes);
        Assert.Equal((1, 2), (cache.GetStatistics().HostCount, cache.GetStatistics().DeviceCount));
        await cache.UnloadAsync(second);
        Assert.Equal(0, _adapters.Memory.LentBytes);
    }

    private static void InterlockedMax(ref long target, long value)
    {
        long seen = Interlocked.Read(ref target);
        while (value > seen)
        {
            long before = Interlocked.CompareExchange(ref target, value, seen);
            if (before == seen)
            {
                return;
            }

            seen = before;
        }
    }

    private AdapterLease Acquire(AdapterCache cache, AdapterId id)
    {
        Task<AdapterLease> acquire = cache.AcquireAsync(id).AsTask();
        _runner.RunAll();
        return Now(acquire);
    }

    private static AdapterLease Now(Task<AdapterLease> acquire)
    {
        Assert.True(acquire.IsCompletedSuccessfully, "the lease was not granted");
        return acquire.GetAwaiter().GetResult();
    }
}
