using InferenceServer.AdapterStore;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Tensors.Memory;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Scheduling;

/// <summary>Random workloads of sequences beside pretended adapters that take chunks of the same memory and give them back.</summary>
public sealed class SharedSchedulerModelTests
{
    private static readonly AdapterStack[] s_stacks =
    [
        AdapterStack.Base,
        new([new StackedAdapter(new AdapterId("a", "1"), 1f)]),
        new([new StackedAdapter(new AdapterId("b", "2"), 1f)]),
    ];

    [Fact]
    public void Sequences_end_with_their_own_tokens_and_no_chunk_has_two_owners_or_is_lost()
    {
        Totals all = default;
        for (int seed = 0; seed < 120; seed++)
        {
            Totals one = new Workload(seed).Run();
            all = new Totals(all.Evicted + one.Evicted, all.Given + one.Given, all.Preempted + one.Preempted, all.PrefixHits + one.PrefixHits, all.Loaded + one.Loaded);
        }

        // The test proves nothing about what it never reaches.
        Assert.True(all is { Evicted: > 100, Given: > 100, Preempted: > 100, PrefixHits: > 1000, Loaded: > 500 }, all.ToString());
    }

    [Fact]
    public void Nearly_all_of_the_memory_holds_keys_and_values_while_there_are_few_adapters()
    {
        SchedulerOptions options = new() { KvBlockSize = 1, MaxBatchTokens = 1000, MaxRunningSequences = 20 };
        ChunkBudget chunks = new(100, 1, 2);
        chunks.Reserve(kvFloor: 20, adapterFloor: 2, kvLimit: 100);
        Scheduler scheduler = new(options, chunks, _ => false);
        PretendMachine machine = new(options, 200);
        for (int i = 0; i < 20; i++)
        {
            scheduler.Add(new Sequence(new SequenceId(i), [i, 1, 2, 3, 4], 5, AdapterStack.Base));
        }

        Run(scheduler, machine);
        scheduler.Add(new Sequence(new SequenceId(20), [.. Enumerable.Range(0, 35)], 5, AdapterStack.Base));
        Run(scheduler, machine);

        Assert.Equal(0, scheduler.Counters.Preemptions);
        Assert.Equal(98, chunks.KvCount);
        Assert.Equal(78, scheduler.IdleChunks);
        Assert.Equal(78, scheduler.GiveChunks(1000));
        Assert.Equal(20, chunks.KvCount);
    }

    [Fact]
    public void Prefixes_that_were_used_longest_ago_are_given_first_and_after_free_blocks()
    {
        SchedulerOptions options = new() { KvBlockSize = 1, MaxBatchTokens = 100, MaxRunningSequences = 1 };
        ChunkBudget chunks = new(6, 1, 5);
        chunks.Reserve(kvFloor: 1, adapterFloor: 0, kvLimit: 6);
        Scheduler scheduler = new(options, chunks, _ => false);
        PretendMachine machine = new(options, 30);
        List<int> given = [];
        chunks.OwnerChanged = (chunk, owner) => given.AddRange(owner == ChunkOwner.None ? [chunk] : []);
        for (int i = 0; i < 4; i++)
        {
            scheduler.Add(new Sequence(new SequenceId(i), [i, 1, 2, 3, 4], 1, AdapterStack.Base));
            Run(scheduler, machine);
        }

        // The first prompt is used once more, so that the second is the oldest.
        scheduler.Add(new Sequence(new SequenceId(4), [0, 1, 2, 3, 4], 1, AdapterStack.Base));
        Run(scheduler, machine);
        Assert.Equal(4, scheduler.Counters.PrefixHitTokens);
        Assert.Equal(5, chunks.KvCount);

        Assert.Equal(2, scheduler.GiveChunks(2));
        Assert.Equal(2, scheduler.GiveChunks(3));
        Assert.Equal([4, 1, 2, 3], given);
        Assert.Equal(0, scheduler.GiveChunks(1));
    }

    [Fact]
    public void A_running_sequence_takes_idle_adapters_memory_before_anybody_is_preempted()
    {
        SchedulerOptions options = new() { KvBlockSize = 1, MaxBatchTokens = 100, MaxRunningSequences = 4, PrefixCaching = false };
        ChunkBudget chunks = new(20, 10, 1);
        chunks.Reserve(kvFloor: 8, adapterFloor: 2, kvLimit: 20);
        Assert.True(chunks.TryTakeForAdapters(12, out int first));
        List<long> asked = [];
        Scheduler scheduler = new(options, chunks, bytes =>
        {
            asked.Add(bytes);
            if (first == 18)
            {
                return false;
            }

            chunks.ReturnFromAdapters(first++, 1);
            return true;
        });
        PretendMachine machine = new(options, 20);
        for (int i = 0; i < 2; i++)
        {
            scheduler.Add(new Sequence(new SequenceId(i), [i, 1, 2], 6, AdapterStack.Base));
        }

        Run(scheduler, machine);

        Assert.Equal(0, scheduler.Counters.Preemptions);
        Assert.All(asked, bytes => Assert.Equal(10, bytes));
        Assert.Equal(16, chunks.KvCount);
    }

    private static void Run(Scheduler scheduler, PretendMachine machine)
    {
        while (!scheduler.IsIdle)
        {
            scheduler.Commit(machine.Run(scheduler.Plan(), scheduler.Running));
        }
    }

    private readonly record struct Totals(long Evicted, long Given, long Preempted, long PrefixHits, long Loaded);

    private sealed class Workload
    {
        private readonly Random _random;
        private readonly SchedulerOptions _options;
        private readonly ChunkBudget _chunks;
        private readonly Scheduler _scheduler;
        private readonly PretendMachine _machine;
        private readonly ChunkOwner[] _owners;
        private readonly List<Adapter> _adapters = []; // least recently used first
        private readonly List<Sequence> _sequences = [];
        private readonly int _most;
        private int _pendingChunks;
        private Totals _totals;

        public Workload(int seed)
        {
            _random = new Random(seed);
            _options = new SchedulerOptions
            {
                KvBlockSize = _random.Next(1, 4),
                MaxBatchTokens = _random.Next(8, 40),
                MaxRunningSequences = _random.Next(1, 9),
                PrefixCaching = seed % 3 != 0,
            };
            int perChunk = _random.Next(1, 5);
            int floor = (59 / (perChunk * _options.KvBlockSize)) + 1;
            int adapterFloor = _random.Next(0, 8);
            int count = floor + adapterFloor + _random.Next(0, 25);
            _chunks = new ChunkBudget(count, 100, perChunk);
            _chunks.Reserve(floor, adapterFloor, _random.Next(floor, count + 1));
            _owners = new ChunkOwner[count];
            _machine = new PretendMachine(_options, count * perChunk) { MayUse = block => _owners[block / perChunk] == ChunkOwner.KeyValues };
            _chunks.OwnerChanged = (chunk, owner) =>
            {
                _owners[chunk] = owner;
                _machine.Spoil(chunk * perChunk, perChunk);
            };
            _scheduler = new Scheduler(_options, _chunks, EvictIdle);
            _most = count - floor;
        }

        public Totals Run()
        {
            int[][] prefixes = [.. Enumerable.Range(0, 3).Select(_ => Tokens(20))];
            for (int step = 0; step < 5000 && (_sequences.Count < 30 || !_scheduler.IsIdle); step++)
            {
                if (_sequences.Count < 30 && _random.Next(2) == 0)
                {
                    int[] prompt = [.. prefixes[_random.Next(3)].Take(_random.Next(0, 21)), .. Tokens(_random.Next(1, 20))];
                    Sequence sequence = new(new SequenceId(_sequences.Count), prompt, _random.Next(1, 21), s_stacks[_random.Next(3)], [7]);
                    _sequences.Add(sequence);
                    _scheduler.Add(sequence);
                }

                MoveAdapters();
                int given = _scheduler.GiveChunks(Math.Max(0, _chunks.Wanted - _chunks.FreeForAdapters));
                _totals = _totals with { Given = _totals.Given + given };
                StepPlan plan = _scheduler.Plan();
                Assert.Equal(_scheduler.IsIdle, plan.IsEmpty);
                _scheduler.FreshChunks.Clear();
                Check();
                _scheduler.Commit(_machine.Run(plan, _scheduler.Running));
            }

            Assert.True(_scheduler.IsIdle, "everything ends in the end");
            Assert.Equal(0, _scheduler.UsedBlocks);
            foreach (Sequence sequence in _sequences)
            {
                Assert.Equal(PretendMachine.Alone(sequence.Tokens[..sequence.PromptLength].ToArray(), sequence.MaxNewTokens, sequence.Stack, 7), sequence.Tokens.ToArray());
            }

            // Whatever was held for a time can be had again: all but the floor by adapters, then all but theirs by sequences.
            _adapters.ForEach(adapter => _chunks.ReturnFromAdapters(adapter.First, adapter.Count));
            _scheduler.GiveChunks(int.MaxValue);
            Assert.Equal((_chunks.KvFloor, 0), (_chunks.KvCount, _chunks.AdapterCount));
            Assert.Equal(_most, _chunks.FreeForAdapters);
            return _totals with { Preempted = _scheduler.Counters.Preemptions, PrefixHits = _scheduler.Counters.PrefixHitTokens };
        }

        private void MoveAdapters()
        {
            foreach (Adapter adapter in _adapters)
            {
                adapter.Leases = _random.Next(6) == 0 ? _random.Next(2) : adapter.Leases;
            }

            if (_pendingChunks == 0 && _random.Next(4) == 0)
            {
                _pendingChunks = _random.Next(0, Math.Min(4, _most) + 1);
            }

            if (_pendingChunks > 0)
            {
                _chunks.Wanted = _pendingChunks;
                if (_chunks.TryTakeForAdapters(_pendingChunks, out int first))
                {
                    _adapters.Add(new Adapter(first, _pendingChunks));
                    _totals = _totals with { Loaded = _totals.Loaded + 1 };
                    _pendingChunks = 0;
                    _chunks.Wanted = 0;
                }
                else if (_scheduler.IdleChunks == 0)
                {
                    Evict();
                }
            }
        }

        private bool EvictIdle(long byteCount)
        {
            long idle = _adapters.Where(adapter => adapter.Leases == 0).Sum(adapter => adapter.Count) * _chunks.ChunkBytes;
            return byteCount <= Math.Min(idle, (_chunks.AdapterCount - _chunks.AdapterFloor) * _chunks.ChunkBytes) && Evict();
        }

        private bool Evict()
        {
            Adapter? idle = _adapters.Find(adapter => adapter.Leases == 0);
            if (idle is null)
            {
                return false;
            }

            _adapters.Remove(idle);
            _chunks.ReturnFromAdapters(idle.First, idle.Count);
            _totals = _totals with { Evicted = _totals.Evicted + 1 };
            return true;
        }

        private void Check()
        {
            HashSet<int> used = [];
            foreach (Sequence sequence in _scheduler.Running)
            {
                used.UnionWith(sequence.Blocks.ToArray());
            }

            Assert.Equal(used.Count, _scheduler.UsedBlocks);
            Assert.All(used, block => Assert.Equal(ChunkOwner.KeyValues, _owners[block / _chunks.BlocksPerChunk]));
            Assert.InRange(_chunks.KvCount, _chunks.KvFloor, _chunks.MostForKv);
            int busy = used.Select(block => block / _chunks.BlocksPerChunk).Distinct().Count();
            Assert.Equal(Math.Max(0, Math.Min(_chunks.KvCount - busy, _chunks.KvCount - _chunks.KvFloor)), _scheduler.IdleChunks);
        }

        private int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(_ => _random.Next(3))];

        private sealed class Adapter(int first, int count)
        {
            public int First => first;

            public int Count => count;

            public int Leases { get; set; }
        }
    }
}
