using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using Xunit;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>Random sequences against a simple model of what the cache must do; every failure names its seed.</summary>
public sealed class AdapterCacheModelTests
{
    private const int Adapters = 8;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly FakeAdapters _adapters = new();
    private readonly StepRunner _runner = new();

    [Fact]
    public async Task One_at_a_time_both_tiers_hold_what_a_list_in_order_of_use_holds()
    {
        for (int seed = 0; seed < 60; seed++)
        {
            Random random = new(seed);
            AdapterId[] ids = [.. Enumerable.Range(0, Adapters).Select(i => _adapters.Add($"s{seed}-{i}", random.Next(1, 30)))];
            long hostBudget = random.Next(30, 120) * sizeof(float);
            long deviceBudget = random.Next(30, 90) * sizeof(float);
            double lowWater = random.Next(5, 11) / 10.0;
            using AdapterCache cache = _adapters.CreateCache(hostBudget, deviceBudget, _runner.Add, lowWater: lowWater);
            List<AdapterId> host = [];
            List<AdapterId> device = [];
            for (int step = 0; step < 100; step++)
            {
                AdapterId id = ids[random.Next(ids.Length)];
                if (random.Next(10) == 0)
                {
                    Task<UnloadResult> unload = cache.UnloadAsync(id);
                    _runner.RunAll();
                    await unload.WaitAsync(s_patience);
                    host.Remove(id);
                    device.Remove(id);
                }
                else
                {
                    Task<AdapterLease> acquire = cache.AcquireAsync(id).AsTask();
                    _runner.RunAll();
                    Now(acquire).Dispose();
                    if (!device.Contains(id) || host.Contains(id))
                    {
                        // A resident adapter needs no host copy, so one that was evicted is not read again.
                        Use(host, id, hostBudget, lowWater);
                    }

                    Use(device, id, deviceBudget, 1);
                }

                IReadOnlyList<AdapterSnapshot> now = cache.Snapshot();
                Assert.True(
                    device.ToHashSet().SetEquals(now.Where(entry => entry.DeviceBytes > 0).Select(entry => entry.Id)),
                    $"seed {seed} step {step}: device tier differs");
                Assert.True(
                    host.ToHashSet().SetEquals(now.Where(entry => entry.HostBytes > 0).Select(entry => entry.Id)),
                    $"seed {seed} step {step}: host tier differs");
            }
        }
    }

    [Fact]
    public async Task Whatever_the_order_of_events_leases_stay_alive_budgets_hold_and_everybody_is_served()
    {
        for (int seed = 0; seed < 150; seed++)
        {
            await RunRandomEventsAsync(seed);
        }
    }

    private async Task RunRandomEventsAsync(int seed)
    {
        Random random = new(seed);
        AdapterId[] ids = [.. Enumerable.Range(0, Adapters).Select(i => _adapters.Add($"r{seed}-{i}", random.Next(1, 30)))];
        long budget = random.Next(30, 90) * sizeof(float);
        long hostBudget = random.Next(60, 200) * sizeof(float);
        AdapterCache cache = _adapters.CreateCache(hostBudget, budget, _runner.Add, random.Next(1, 4), random.Next(5, 11) / 10.0);
        List<AdapterLease> leases = [];
        List<(Task<AdapterLease> Task, CancellationTokenSource Stop)> waiting = [];
        List<Task<UnloadResult>> unloads = [];
        for (int step = 0; step < 250; step++)
        {
            AdapterId id = ids[random.Next(ids.Length)];
            switch (random.Next(12))
            {
                case 0 or 1 or 2:
                    CancellationTokenSource stop = new();
                    waiting.Add((cache.AcquireAsync(id, stop.Token).AsTask(), stop));
                    break;
                case 3:
                    if (cache.TryAcquireResident(id, out AdapterLease resident))
                    {
                        leases.Add(resident);
                    }

                    break;
                case 4 or 5 when leases.Count > 0:
                    int which = random.Next(leases.Count);
                    leases[which].Dispose();
                    leases.RemoveAt(which);
                    break;
                case 6 when waiting.Count > 0:
                    await waiting[random.Next(waiting.Count)].Stop.CancelAsync();
                    break;
                case 7 when random.Next(3) == 0:
                    unloads.Add(cache.UnloadAsync(id));
                    break;
                default:
                    if (_runner.Count > 0)
                    {
                        _runner.RunOne();
                    }

                    break;
            }

            Collect(waiting, leases);
            Check(cache, leases, budget, hostBudget, $"seed {seed} step {step}");
        }

        // From here on nothing new is asked for: every caller must be served while leases come back one by one.
        for (int round = 0; waiting.Count > 0 || leases.Count > 0; round++)
        {
            Assert.True(round < 10_000, $"seed {seed}: {waiting.Count} callers are never served");
            _runner.RunAll();
            Collect(waiting, leases);
            Check(cache, leases, budget, hostBudget, $"seed {seed} end");
            if (leases.Count > 0)
            {
                leases[0].Dispose();
                leases.RemoveAt(0);
            }
        }

        unloads.AddRange(ids.Select(id => cache.UnloadAsync(id)));
        _runner.RunAll();
        await Task.WhenAll(unloads).WaitAsync(s_patience);
        Assert.Equal(0, _adapters.LiveDeviceBytes);
        AdapterCacheStatistics now = cache.GetStatistics();
        Assert.Equal((0, 0, 0), (now.DeviceBytes, now.HostBytes, now.Queued));
        Assert.Empty(cache.Snapshot());
        cache.Dispose();
    }

    private void Check(AdapterCache cache, List<AdapterLease> leases, long budget, long hostBudget, string where)
    {
        Assert.All(leases, lease => Assert.True(FakeAdapters.IsAlive(lease), $"{where}: a leased adapter was freed"));
        AdapterCacheStatistics now = cache.GetStatistics();
        Assert.True(_adapters.LiveDeviceBytes <= budget, $"{where}: {_adapters.LiveDeviceBytes} device bytes alive, budget {budget}");
        Assert.True(now.DeviceBytes <= budget, $"{where}: {now.DeviceBytes} device bytes counted, budget {budget}");
        Assert.True(now.DeviceBytes >= _adapters.LiveDeviceBytes, $"{where}: fewer device bytes counted than alive");
        Assert.True(now.HostBytes <= hostBudget, $"{where}: {now.HostBytes} host bytes, budget {hostBudget}");
        Assert.Equal(leases.Count, cache.Snapshot().Sum(entry => entry.Leases));
    }

    private static void Collect(List<(Task<AdapterLease> Task, CancellationTokenSource Stop)> waiting, List<AdapterLease> leases)
    {
        foreach ((Task<AdapterLease> task, CancellationTokenSource stop) in waiting.Where(one => one.Task.IsCompleted).ToList())
        {
            Assert.False(task.IsFaulted, task.Exception?.ToString());
            if (task.IsCompletedSuccessfully)
            {
                leases.Add(Now(task));
            }

            stop.Dispose();
            waiting.Remove((task, stop));
        }
    }

    // The model: a list in order of use, from which the oldest go until the new one fits.
    private void Use(List<AdapterId> tier, AdapterId id, long budget, double lowWater)
    {
        if (tier.Remove(id))
        {
            tier.Add(id);
            return;
        }

        long size = _adapters.Measure(id).HostBytes;
        if (tier.Sum(one => _adapters.Measure(one).HostBytes) + size > budget)
        {
            while (tier.Count > 0 && tier.Sum(one => _adapters.Measure(one).HostBytes) > (long)(budget * lowWater) - size)
            {
                tier.RemoveAt(0);
            }
        }

        tier.Add(id);
    }

    private static AdapterLease Now(Task<AdapterLease> acquire)
    {
        Assert.True(acquire.IsCompletedSuccessfully, "the lease was not granted");
        return acquire.GetAwaiter().GetResult();
    }
}
