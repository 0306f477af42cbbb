using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Cache;
using InferenceServer.Tensors;
using Xunit;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>The cache where adapters share their device memory with others.</summary>
public sealed class SharedAdapterCacheTests
{
    private const int Size = 10 * sizeof(float);

    private readonly FakeAdapters _adapters = new();
    private readonly StepRunner _runner = new();

    [Fact]
    public void What_others_do_not_use_is_asked_for_before_an_adapter_goes()
    {
        Room room = new(_adapters, total: 3 * Size) { OthersBytes = 2 * Size, IdleBytes = Size };
        using AdapterCache cache = Create(room);
        Acquire(cache, "a").Dispose();

        Task<AdapterLease> b = Start(cache, "b");
        Assert.False(b.IsCompleted);
        Assert.Equal(Size, room.Wanted);
        Assert.Equal(Size, _adapters.LiveDeviceBytes);

        // Between two steps the others look, and give.
        room.Give(Size);
        _runner.RunAll();

        Assert.True(b.IsCompletedSuccessfully);
        Assert.True(cache.TryAcquireResident(Id("a"), out _));
        Assert.Equal(0, room.Wanted);
    }

    [Fact]
    public void When_others_have_nothing_to_give_the_least_recently_used_idle_adapter_goes()
    {
        Room room = new(_adapters, total: 3 * Size) { OthersBytes = Size };
        using AdapterCache cache = Create(room);
        Acquire(cache, "a").Dispose();
        AdapterLease leased = Acquire(cache, "b");

        Acquire(cache, "c").Dispose();

        Assert.True(FakeAdapters.IsAlive(leased));
        Assert.False(cache.TryAcquireResident(Id("a"), out _));
        Assert.Equal(1, cache.GetStatistics().DeviceEvictions);
    }

    [Fact]
    public void A_load_waits_for_what_running_sequences_have_and_is_told_when_they_give()
    {
        Room room = new(_adapters, total: 2 * Size) { OthersBytes = 2 * Size };
        using AdapterCache cache = Create(room);

        Task<AdapterLease> a = Start(cache, "a");
        Assert.False(a.IsCompleted);
        Assert.Equal(Size, room.Wanted);

        room.Give(Size);
        _runner.RunAll();

        Assert.True(a.IsCompletedSuccessfully);
    }

    [Fact]
    public void Room_that_was_taken_by_another_meanwhile_is_waited_for_again()
    {
        Room room = new(_adapters, total: 4 * Size);
        using AdapterCache cache = Create(room);
        int failures = 2;
        _adapters.OnLoad = _ =>
        {
            if (failures-- > 0)
            {
                throw new DeviceMemoryException("taken", isShared: true);
            }
        };

        Acquire(cache, "a").Dispose();

        Assert.Equal(0, cache.GetStatistics().FailedLoads);
        Assert.Equal(Size, cache.GetStatistics().DeviceBytes);
        Acquire(cache, "b").Dispose();
        Assert.Equal(2 * Size, cache.GetStatistics().DeviceBytes);
    }

    [Fact]
    public void A_load_that_is_short_of_room_again_and_again_evicts_what_is_idle_and_then_fails_alone()
    {
        Room room = new(_adapters, total: 4 * Size);
        using AdapterCache cache = Create(room);
        Acquire(cache, "idle").Dispose();
        AdapterLease leased = Acquire(cache, "leased");
        AdapterId bad = Id("bad");
        _adapters.OnLoad = id =>
        {
            if (id == bad)
            {
                throw new DeviceMemoryException("in pieces", isShared: true);
            }
        };

        Task<AdapterLease> failing = Start(cache, "bad");
        Assert.False(failing.IsCompleted);
        Assert.False(cache.TryAcquireResident(Id("idle"), out _));
        leased.Dispose();
        _runner.RunAll();

        CapacityExceededException error = Assert.IsType<CapacityExceededException>(Assert.Single(failing.Exception!.InnerExceptions));
        Assert.Contains("which is in pieces", error.Message, StringComparison.Ordinal);
        Acquire(cache, "other").Dispose();
        Assert.Equal(0, room.Wanted);
    }

    [Fact]
    public void Too_little_memory_of_another_kind_fails_at_once()
    {
        Room room = new(_adapters, total: 4 * Size);
        using AdapterCache cache = Create(room);
        _adapters.OnLoad = _ => throw new DeviceMemoryException("the device is full");

        Task<AdapterLease> failing = Start(cache, "a");

        Assert.IsType<DeviceMemoryException>(Assert.Single(failing.Exception!.InnerExceptions));
        Assert.Single(_adapters.Loads);
    }

    [Fact]
    public void An_adapter_larger_than_all_that_adapters_can_have_is_refused()
    {
        Room room = new(_adapters, total: Size - 1);
        using AdapterCache cache = Create(room);

        CapacityExceededException error = Assert.IsType<CapacityExceededException>(Assert.Single(Start(cache, "a").Exception!.InnerExceptions));

        Assert.Contains("40 device bytes, the shared memory is 39", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Others_get_idle_adapters_in_order_of_use_and_none_that_is_leased_pinned_or_below_the_floor()
    {
        Room room = new(_adapters, total: 10 * Size) { FloorBytes = 2 * Size };
        using AdapterCache cache = Create(room);
        Acquire(cache, "a").Dispose();
        Acquire(cache, "b").Dispose();
        Acquire(cache, "c").Dispose();
        Pin(cache, "a");
        AdapterLease leased = Acquire(cache, "d");
        Acquire(cache, "e").Dispose();

        Assert.False(cache.TryEvictIdle(4 * Size), "three are idle");
        Assert.True(cache.TryEvictIdle(1));
        Assert.False(cache.TryAcquireResident(Id("b"), out _));
        Assert.True(cache.TryEvictIdle(2 * Size));
        Assert.False(cache.TryEvictIdle(1), "nothing is idle");

        Assert.Equal(2 * Size, _adapters.LiveDeviceBytes);
        Assert.True(FakeAdapters.IsAlive(leased));
        Assert.True(cache.TryAcquireResident(Id("a"), out _));
        leased.Dispose();
        Assert.False(cache.TryEvictIdle(1), "two are the floor");
    }

    [Fact]
    public void An_adapter_that_was_given_to_others_comes_back_when_it_is_asked_for()
    {
        Room room = new(_adapters, total: 2 * Size);
        using AdapterCache cache = Create(room);
        Acquire(cache, "a").Dispose();
        Assert.True(cache.TryEvictIdle(Size));
        room.OthersBytes = Size;

        Acquire(cache, "a").Dispose();

        Assert.Equal(Size, _adapters.LiveDeviceBytes);
        Assert.Equal(1, cache.GetStatistics().HostHits);
    }

    [Fact]
    public void What_lies_outside_of_the_shared_memory_is_not_counted_in_it_and_has_the_budget_to_itself()
    {
        Room room = new(_adapters, total: Size);
        using AdapterCache cache = Create(room, budget: Size);
        _adapters.SharedPart = 0.25;
        Acquire(cache, "a").Dispose();

        // Half of the shared memory is free, though "a" is as large as all of it.
        Pin(cache, "a");
        _adapters.SharedPart = 1;
        _adapters.Add("small", 5);
        Acquire(cache, "small").Dispose();
        Assert.True(cache.TryAcquireResident(Id("a"), out AdapterLease kept));
        kept.Dispose();

        cache.Unpin(Id("a"));
        Assert.True(cache.TryEvictIdle(1));
        Assert.True(cache.TryEvictIdle(1));
        Assert.Equal(0, _adapters.LiveDeviceBytes);

        // Of three with three quarters apart, the budget holds one.
        _adapters.SharedPart = 0.25;
        foreach (string name in (string[])["b", "c", "d"])
        {
            Acquire(cache, name).Dispose();
            _runner.RunAll();
        }

        Assert.Equal(Size, _adapters.LiveDeviceBytes);
        Assert.True(cache.TryAcquireResident(Id("d"), out _));
    }

    [Fact]
    public void Nothing_is_evicted_for_others_where_nothing_is_shared()
    {
        _adapters.Add("a", 10);
        using AdapterCache cache = _adapters.CreateCache(1000, 1000, _runner.Add);
        Acquire(cache, "a").Dispose();

        Assert.False(cache.TryEvictIdle(1));
    }

    [Fact]
    public void Whatever_others_take_and_give_leases_stay_alive_and_everybody_is_served()
    {
        for (int seed = 0; seed < 150; seed++)
        {
            RunRandomEvents(seed);
        }
    }

    private void RunRandomEvents(int seed)
    {
        Random random = new(seed);
        Room room = new(_adapters, total: random.Next(40, 90) * sizeof(float)) { FloorBytes = random.Next(0, 30) * sizeof(float) };
        using AdapterCache cache = Create(room);
        AdapterId[] ids = [.. Enumerable.Range(0, 8).Select(i => _adapters.Add($"s{seed}-{i}", random.Next(1, 30)))];
        List<AdapterLease> leases = [];
        List<Task<AdapterLease>> waiting = [];
        _adapters.OnLoad = _ =>
        {
            if (random.Next(6) == 0)
            {
                throw new DeviceMemoryException("taken", isShared: true);
            }
        };
        for (int i = 0; i < 200; i++)
        {
            switch (random.Next(6))
            {
                case 0 or 1 when waiting.Count < 6:
                    waiting.Add(cache.AcquireAsync(ids[random.Next(ids.Length)]).AsTask());
                    break;
                case 2 when leases.Count > 0:
                    int index = random.Next(leases.Count);
                    leases[index].Dispose();
                    leases.RemoveAt(index);
                    break;
                case 3:
                    // Others take what is free above what adapters can count on, or have idle adapters evicted.
                    long free = room.LimitBytes - _adapters.LiveDeviceBytes - Math.Max(0, room.FloorBytes - _adapters.LiveDeviceBytes);
                    if (free <= 0)
                    {
                        cache.TryEvictIdle(random.Next(1, 60));
                    }
                    else
                    {
                        room.OthersBytes += random.Next((int)free + 1);
                        room.IdleBytes = random.Next((int)room.OthersBytes + 1);
                    }

                    break;
                case 4:
                    room.Give(random.Next((int)room.OthersBytes + 1));
                    break;
                default:
                    _runner.RunAll();
                    break;
            }

            Collect();
            Assert.All(leases, lease => Assert.True(FakeAdapters.IsAlive(lease), $"seed {seed}: a leased adapter was freed"));
        }

        // Everybody is served in the end, or told why not.
        for (int i = 0; i < 100 && waiting.Count > 0; i++)
        {
            leases.ForEach(lease => lease.Dispose());
            leases.Clear();
            room.Give(room.OthersBytes);
            _runner.RunAll();
            Collect();
        }

        Assert.True(waiting.Count == 0, $"seed {seed}: {waiting.Count} still wait");
        leases.ForEach(lease => lease.Dispose());
        _runner.RunAll();
        Assert.Equal(0, room.Wanted);
        Assert.Equal(_adapters.LiveDeviceBytes, cache.GetStatistics().DeviceBytes);
        _adapters.OnLoad = null;

        void Collect()
        {
            foreach (Task<AdapterLease> done in waiting.Where(task => task.IsCompleted).ToArray())
            {
                waiting.Remove(done);
                if (done.IsCompletedSuccessfully)
                {
                    leases.Add(done.Result);
                }
                else
                {
                    Assert.IsType<CapacityExceededException>(done.Exception!.InnerException);
                }
            }
        }
    }

    private AdapterCache Create(Room room, long budget = 1)
    {
        foreach (string name in (string[])["a", "b", "c", "d", "e", "idle", "leased", "bad", "other"])
        {
            _adapters.Add(name, 10);
        }

        _adapters.SharedPart = 1;
        AdapterCache cache = _adapters.CreateCache(10_000, budget, _runner.Add);
        cache.Share(room);
        return cache;
    }

    private static AdapterId Id(string name) => new(name, new string('a', 64));

    private Task<AdapterLease> Start(AdapterCache cache, string name)
    {
        Task<AdapterLease> acquire = cache.AcquireAsync(Id(name)).AsTask();
        _runner.RunAll();
        return acquire;
    }

    private AdapterLease Acquire(AdapterCache cache, string name)
    {
        Task<AdapterLease> acquire = Start(cache, name);
        Assert.True(acquire.IsCompletedSuccessfully, $"'{name}' is not there");
        return acquire.Result;
    }

    private void Pin(AdapterCache cache, string name)
    {
        Task pinned = cache.PinAsync(Id(name));
        _runner.RunAll();
        Assert.True(pinned.IsCompletedSuccessfully);
    }

    /// <summary>A memory in which everything fits to the byte.</summary>
    private sealed class Room(FakeAdapters adapters, long total) : IAdapterRoom
    {
        /// <summary>What others have.</summary>
        public long OthersBytes { get; set; }

        /// <summary>What adapters want.</summary>
        public long Wanted { get; private set; }

        public long MaxBytes => total;

        public long LimitBytes => total - OthersBytes;

        public long HeldBytes => adapters.LiveSharedBytes;

        public long FloorBytes { get; set; }

        public long IdleBytes { get; set; }

        public long ChunkBytes => 4;

        public Action? Changed { get; set; }

        public void Want(long byteCount) => Wanted = byteCount;

        public void Give(long byteCount)
        {
            OthersBytes -= byteCount;
            IdleBytes = Math.Max(0, IdleBytes - byteCount);
            Changed!();
        }
    }
}
