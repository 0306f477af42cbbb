using InferenceServer.Cuda;
using InferenceServer.Cuda.KeyValues;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Memory;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>KV blocks and adapters in one memory. Chunks that nobody has are illegal to touch in all of these tests.</summary>
[Collection(StandInCollection.Name)]
public sealed class SharedMemoryTests : IDisposable
{
    private const int OutOfMemory = 2;
    private const int Inputs = 64;
    private const int Outputs = 48;
    private static readonly AttentionParameters s_attention = new(4, 2, 16, 0.25f, 0, 0);

    // A block is 4096 bytes.
    private static readonly KvCacheShape s_shape = new(2, 1, 16, 2, 16, WeightFormat.BF16);

    private readonly CudaBackend _backend = CudaTestBackend.Create();
    private readonly CudaBackend _apart = CudaTestBackend.Create();

    private PagePool Pages => _backend.Context.Machine.Adapters.SharedPages!;

    public void Dispose()
    {
        StandIn.Reset();
        _backend.Dispose();
        _apart.Dispose();
    }

    [StandInFact]
    public void A_thousand_adapters_of_mixed_rank_fit_beside_sequences_without_holes()
    {
        using Shared shared = new(_backend, 12 << 20);
        Random random = new(5);
        int[] ranks = [1, 2, 3, 4, 8, 8, 16, 16, 32, 64];
        List<(DeviceAdapter Adapter, int Seed, int Rank)> loaded = [];
        for (int i = 0; i < 1000; i++)
        {
            loaded.Add(Load(i, ranks[random.Next(ranks.Length)]));
        }

        // Half of them go, in no order, and others of other ranks come; sequences use what is left.
        AttentionSequence sequence = AttentionSequence.Random(s_attention, 150, 3);
        float[] expected = sequence.Attend(_backend, s_attention, 16, [100, 1, 49], scattered: false);
        for (int i = 0; i < 500; i++)
        {
            int gone = random.Next(loaded.Count);
            loaded[gone].Adapter.Dispose();
            loaded[gone] = Load(1000 + i, ranks[random.Next(ranks.Length)]);
            if (i % 50 == 0)
            {
                int[] taken = shared.TakeForKv(chunks: 3);
                Closeness.AssertSameBits(expected, sequence.Attend(_backend, shared.Cache, s_attention, [100, 1, 49], shared.Blocks(taken)), "a sequence");
                Check(loaded[random.Next(loaded.Count)]);
                shared.GiveBack(taken);
            }
        }

        // A chunk for each of the two sizes of pages that is not full, and what other ranks left free: a twentieth.
        Assert.InRange(Pages.HeldBytes, Pages.UsedBytes, (Pages.UsedBytes * 21 / 20) + (3 * shared.Chunks.ChunkBytes));
        Assert.Equal(Pages.HeldBytes, shared.Chunks.AdapterCount * shared.Chunks.ChunkBytes);
        foreach ((DeviceAdapter Adapter, int Seed, int Rank) one in loaded)
        {
            Check(one);
            one.Adapter.Dispose();
        }

        Assert.Equal(0, shared.Chunks.AdapterCount);
    }

    [StandInTheory]
    [InlineData(StreamOrder.AtOnce)]
    [InlineData(StreamOrder.Lazy)]
    [InlineData(StreamOrder.OthersFirst)]
    [InlineData(StreamOrder.Shuffled)]
    public void While_memory_changes_hands_steps_give_the_same_bits_under_the_same_graph(StreamOrder order)
    {
        const int Tokens = 40;
        AttentionSequence sequence = AttentionSequence.Random(s_attention, Tokens, 8);
        float[] expected = sequence.Attend(_backend, s_attention, 16, [.. Enumerable.Repeat(1, Tokens)], scattered: false);
        using Shared shared = new(_backend, 4 << 20);
        int[] own = shared.TakeForKv(chunks: 1);
        (DeviceAdapter Adapter, int Seed, int Rank) stays = Load(1, 8);
        Check(stays);
        using Decoder decoder = new(_backend, shared, sequence);
        List<float> actual = [.. decoder.Step(0, shared.Blocks(own)), .. decoder.Step(1, shared.Blocks(own)), .. decoder.Step(2, shared.Blocks(own))];
        int captures = _backend.Context.Queue.Graphs.CaptureCount;
        StandIn.SetOrder(order, seed: 4);
        StandIn.ResetCounters();
        List<int[]> grown = [];
        DeviceAdapter? passing = null;
        for (int i = 3; i < Tokens; i++)
        {
            // The cache has taken all that was free and gives some of it; an adapter comes where keys and values were, and goes.
            if (i % 3 == 0)
            {
                while (shared.Chunks.FreeCount > 0)
                {
                    grown.Add(shared.TakeForKv(chunks: 1));
                }
            }
            else if (i % 3 == 1)
            {
                grown.ForEach(shared.GiveBack);
                grown.Clear();
                passing = Load(i, 32).Adapter;
            }

            actual.AddRange(decoder.Step(i, shared.Blocks(own)));
            if (i % 3 == 2)
            {
                passing?.Dispose();
            }
        }

        Closeness.AssertSameBits(expected, [.. actual], "the sequence");
        Assert.Equal(captures, _backend.Context.Queue.Graphs.CaptureCount);
        Assert.Equal((0, 0), (StandIn.Counters.Allocations, StandIn.Counters.Frees));
        Assert.True(shared.Guard.Moves is { Adapters: > 10, KeyValues: > 1000 }, shared.Guard.Moves.ToString());
        Check(stays);
        stays.Adapter.Dispose();
    }

    [StandInFact]
    public void Blocks_that_were_an_adapters_are_cleared_for_keys_and_values()
    {
        // Heads of 12 elements lie 16 apart, and what is between them is read.
        AttentionParameters narrow = s_attention with { HeadSize = 12 };
        AttentionSequence sequence = AttentionSequence.Random(narrow, 30, 2);
        float[] expected = sequence.Attend(_backend, narrow, 16, [30], scattered: false);
        using Shared shared = new(_backend, 4 << 20, s_shape with { HeadSize = 12 });
        StandIn.SetOrder(StreamOrder.Lazy);

        int[] taken = shared.TakeForKv(chunks: 1);

        Closeness.AssertSameBits(expected, sequence.Attend(_backend, shared.Cache, narrow, [30], shared.Blocks(taken)), "the sequence");
    }

    [StandInFact]
    public void An_adapters_chunks_are_not_given_on_before_the_step_that_reads_them_is_done()
    {
        using Shared shared = new(_backend, 4 << 20);
        (DeviceAdapter adapter, int seed, int rank) = Load(1, 16);
        int held = shared.Chunks.AdapterCount;
        StandIn.SetOrder(StreamOrder.Lazy);
        using Deltas deltas = new(_backend, adapter);

        adapter.Dispose();
        Assert.Equal(held, shared.Chunks.AdapterCount);

        float[] read = deltas.Read();
        Assert.Equal(0, shared.Chunks.AdapterCount);
        StandIn.Reset();
        Closeness.AssertSameBits(Expected(seed, rank), read, "the step");
    }

    [StandInFact]
    public void A_chunk_that_is_given_on_too_early_is_an_illegal_address()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using Shared shared = new(backend, 4 << 20);
        AttentionSequence sequence = AttentionSequence.Random(s_attention, 20, 8);
        using DeviceBuffer other = backend.Allocate(16, "other");
        int[] taken = shared.TakeForKv(chunks: 1);
        StandIn.SetOrder(StreamOrder.Lazy);
        sequence.Store(backend, shared.Cache, 20, shared.Blocks(taken));

        // Nobody has waited.
        shared.GiveBack(taken);

        DeviceLostException lost = Assert.Throws<DeviceLostException>(() => backend.Read(new TensorView(other, 1, 4), new float[4]));
        Assert.Contains("illegal address", lost.Message, StringComparison.Ordinal);
        StandIn.Reset();
    }

    [StandInFact]
    public void A_memory_that_is_full_says_so_loses_nothing_and_lets_others_make_room()
    {
        using Shared shared = new(_backend, 4 << 20);
        int[] taken = shared.TakeForKv(shared.Chunks.ChunkCount - 2);
        (DeviceAdapter Adapter, int Seed, int Rank) fits = Load(1, 4);
        int held = shared.Chunks.AdapterCount;
        long used = Pages.UsedBytes;

        // Rows of A find a page, columns of B after them do not.
        DeviceMemoryException error = Assert.Throws<DeviceMemoryException>(() => Load(2, 200));

        Assert.True(error.IsShared);
        Assert.Contains("'shared-2@0'", error.Message, StringComparison.Ordinal);
        Assert.Equal((held, used), (shared.Chunks.AdapterCount, Pages.UsedBytes));
        shared.GiveBack(taken);
        (DeviceAdapter Adapter, int Seed, int Rank) second = Load(2, 200);
        Check(fits);
        Check(second);
        fits.Adapter.Dispose();
        second.Adapter.Dispose();
    }

    [StandInFact]
    public void A_device_without_the_memory_leaves_adapters_where_they_were()
    {
        StandIn.Fail(DriverCall.Allocate, 1, OutOfMemory);

        Assert.Throws<DeviceMemoryException>(() => _backend.CreateSharedKvCache(s_shape, 4 << 20, out _));
        Assert.Throws<DeviceMemoryException>(() => _backend.CreateSharedKvCache(s_shape, 4095, out _));

        (DeviceAdapter Adapter, int Seed, int Rank) loaded = Load(1, 4);
        Check(loaded);
        using Shared shared = new(_backend, 4 << 20);
        Check(loaded);
        (DeviceAdapter Adapter, int Seed, int Rank) other = Load(2, 4);
        Assert.True(shared.Chunks.AdapterCount > 0);
        Check(other);
        loaded.Adapter.Dispose();
        other.Adapter.Dispose();
    }

    [StandInFact]
    public void The_memory_stays_until_the_last_adapter_in_it_is_gone()
    {
        long before = StandIn.Counters.LiveBytes;
        KvCache cache = _backend.CreateSharedKvCache(s_shape, 4 << 20, out ChunkBudget chunks);
        (DeviceAdapter Adapter, int Seed, int Rank) loaded = Load(1, 4);
        Assert.Throws<InvalidOperationException>(() => _backend.CreateSharedKvCache(s_shape, 4 << 20, out _));

        cache.Dispose();
        Check(loaded);
        Assert.True(StandIn.Counters.LiveBytes - before >= 4 << 20);
        loaded.Adapter.Dispose();
        (DeviceAdapter Adapter, int Seed, int Rank) apart = Load(2, 4);
        Check(apart);
        apart.Adapter.Dispose();
        _backend.Context.Machine.Adapters.Pages.Trim();
        _apart.Context.Machine.Adapters.Pages.Trim();

        Assert.Equal(0, chunks.AdapterCount);
        Assert.InRange(StandIn.Counters.LiveBytes - before, 0, 1 << 20);
        using Shared again = new(_backend, 4 << 20);
    }

    [Theory]
    [InlineData(140L << 30, 2L << 20, 4)]
    [InlineData(140L << 30, 5L << 20, 1)]
    [InlineData(100L << 20, 4096, 100)]
    [InlineData(1 << 20, 4096, 1)]
    [InlineData(1 << 20, 96, 44)]
    public void A_chunk_is_at_most_eight_megabytes_or_a_block_and_a_small_memory_has_many(long byteCount, long blockBytes, int blocks)
    {
        Assert.Equal(blocks, SharedArena.BlocksPerChunk(byteCount, blockBytes));
    }

    private static LowRankDelta Delta(int seed, int rank) => new()
    {
        A = new HostMatrix(rank, Inputs, HostTensor.Random(rank, Inputs, seed).Values),
        B = new HostMatrix(Outputs, rank, HostTensor.Random(Outputs, rank, seed + 7000).Values),
    };

    private static AdapterWeights Weights(int seed, int rank) => new($"shared-{seed}@0", [Delta(seed, rank)]);

    // What the same adapter adds where it has a memory to itself.
    private float[] Expected(int seed, int rank)
    {
        using DeviceAdapter adapter = _apart.CreateAdapter(Weights(seed, rank), WeightFormat.BF16);
        using Deltas deltas = new(_apart, adapter);
        return deltas.Read();
    }

    private (DeviceAdapter Adapter, int Seed, int Rank) Load(int seed, int rank) =>
        (_backend.CreateSharedAdapter(Weights(seed, rank), WeightFormat.BF16), seed, rank);

    private void Check((DeviceAdapter Adapter, int Seed, int Rank) one)
    {
        using Deltas deltas = new(_backend, one.Adapter);
        Closeness.AssertSameBits(Expected(one.Seed, one.Rank), deltas.Read(), $"adapter {one.Seed}");
    }

    /// <summary>A shared memory of which all free chunks are forbidden.</summary>
    private sealed class Shared : IDisposable
    {
        private readonly CudaBackend _backend;

        public Shared(CudaBackend backend, long byteCount, KvCacheShape? shape = null)
        {
            _backend = backend;
            Cache = backend.CreateSharedKvCache(shape ?? s_shape, byteCount, out ChunkBudget chunks);
            Chunks = chunks;
            Guard = new ChunkGuard(chunks, CudaKvCache.Of(Cache).Buffer.Address);
        }

        public KvCache Cache { get; }

        public ChunkBudget Chunks { get; }

        public ChunkGuard Guard { get; }

        public int[] TakeForKv(int chunks)
        {
            int[] taken = new int[chunks];
            for (int i = 0; i < chunks; i++)
            {
                Assert.True(Chunks.TryTakeForKv(isUrgent: false, out taken[i]));
                _backend.ClearBlocks(Cache, taken[i] * Chunks.BlocksPerChunk, Chunks.BlocksPerChunk);
            }

            return taken;
        }

        public int[] Blocks(int[] chunks) =>
            [.. chunks.SelectMany(chunk => Enumerable.Range(chunk * Chunks.BlocksPerChunk, Chunks.BlocksPerChunk))];

        public void GiveBack(int[] chunks) => Array.ForEach(chunks, Chunks.ReturnFromKv);

        public void Dispose()
        {
            Guard.Dispose();
            Cache.Dispose();
        }
    }

    /// <summary>Decodes a sequence token by token, in buffers of its own, so that each step is the same graph.</summary>
    private sealed class Decoder : IDisposable
    {
        private readonly CudaBackend _backend;
        private readonly Shared _shared;
        private readonly AttentionSequence _sequence;
        private readonly StepInputs _step = new(1, 1);
        private readonly DeviceBuffer[] _buffers;
        private readonly TensorView[] _views;

        public Decoder(CudaBackend backend, Shared shared, AttentionSequence sequence)
        {
            _backend = backend;
            _shared = shared;
            _sequence = sequence;
            int[] columns = [sequence.Q.Columns, sequence.K.Columns, sequence.V.Columns, sequence.Q.Columns];
            _buffers = [.. columns.Select(count => backend.Allocate(count * sizeof(float), "row"))];
            _views = [.. columns.Select((count, i) => new TensorView(_buffers[i], 1, count))];
        }

        public float[] Step(int token, int[] blocks)
        {
            _step.Clear();
            _step.AddSequence([0], token, blocks);
            _backend.Write(_sequence.Q.Row(token), _buffers[0]);
            _backend.Write(_sequence.K.Row(token), _buffers[1]);
            _backend.Write(_sequence.V.Row(token), _buffers[2]);
            _backend.BeginStep(_step);
            _backend.StoreKv(_views[1], _views[2], _shared.Cache, 1);
            _backend.PagedAttention(_views[0], _shared.Cache, 1, s_attention, _views[3]);
            float[] y = new float[_sequence.Q.Columns];
            _backend.Read(_views[3], y);
            return y;
        }

        public void Dispose() => Array.ForEach(_buffers, buffer => buffer.Dispose());
    }

    /// <summary>A step that adds an adapter's part to zeros, read when asked.</summary>
    private sealed class Deltas : IDisposable
    {
        private readonly CudaBackend _backend;
        private readonly DeviceBuffer _x;
        private readonly DeviceBuffer _y;

        public Deltas(CudaBackend backend, DeviceAdapter adapter)
        {
            _backend = backend;
            _x = backend.Allocate(Inputs * sizeof(float), "x");
            _y = backend.Allocate(Outputs * sizeof(float), "y");
            backend.Write(HostTensor.Random(1, Inputs, 77).Values, _x);
            StepInputs step = new(1, 1);
            step.AddSequence([0], 0, [0]);
            step.Lora.BeginGroup(0, 1);
            step.Lora.AddEntry(adapter, 1);
            backend.BeginStep(step);
            backend.ApplyAdapters(step.Lora, [new ModuleColumns(0, 0, Outputs)], new TensorView(_x, 1, Inputs), new TensorView(_y, 1, Outputs));
        }

        public float[] Read()
        {
            float[] y = new float[Outputs];
            _backend.Read(new TensorView(_y, 1, Outputs), y);
            return y;
        }

        public void Dispose()
        {
            _x.Dispose();
            _y.Dispose();
        }
    }
}
