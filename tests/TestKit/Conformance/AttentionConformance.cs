using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>The paged KV cache and attention over it.</summary>
public abstract class AttentionConformance : BackendConformance
{
    /// <summary>Largest relative distance from the reference over keys and values as the cache keeps them.</summary>
    protected virtual double Tolerance => 1e-6;

    /// <summary>Tokens of the test that cuts a sequence in many ways; at least 310, so that it crosses what backends cut by themselves.</summary>
    protected virtual int LongSequence => 600;

    [Theory]
    [InlineData(4, 4, 64, 0f, 0, 100)]
    [InlineData(8, 2, 64, 0f, 0, 300)]
    [InlineData(4, 1, 80, 0f, 0, 33)]
    [InlineData(4, 2, 12, 0f, 7, 50)]
    [InlineData(4, 2, 16, 30f, 0, 270)]
    [InlineData(2, 1, 128, 50f, 300, 700)]
    [InlineData(2, 2, 8, 0f, 1, 20)]
    [InlineData(7, 1, 64, 0f, 0, 40)]
    [InlineData(12, 2, 96, 0f, 0, 19)]
    [InlineData(17, 1, 32, 0f, 0, 21)]
    [InlineData(2, 1, 256, 0f, 0, 70)]
    [InlineData(2, 1, 288, 0f, 9, 18)]
    public void A_prefill_is_the_reference(int heads, int kvHeads, int headSize, float softCap, int window, int tokens)
    {
        AttentionParameters parameters = new(heads, kvHeads, headSize, 1 / MathF.Sqrt(headSize), softCap, window);
        (HostTensor q, HostTensor k, HostTensor v) = Sequence(parameters, tokens, 3);

        float[] y = Attend(Backend, parameters, q, k, v, 16, [tokens], scattered: false);

        Closeness.AssertClose(Reference.Attention(q, Kept(k), Kept(v), parameters), y, Tolerance, "attention");
    }

    [Theory]
    [InlineData(0, 0f)]
    [InlineData(100, 0f)]
    [InlineData(0, 20f)]
    public void Any_chunks_block_size_and_block_order_give_the_same_bits(int window, float softCap)
    {
        AttentionParameters parameters = new(4, 2, 20, 0.3f, softCap, window);
        (HostTensor q, HostTensor k, HostTensor v) = Sequence(parameters, LongSequence, 4);

        float[] whole = Attend(Backend, parameters, q, k, v, 16, [LongSequence], scattered: false);

        int[] oneByOneAtTheEnd = [.. Enumerable.Repeat(1, 20).Prepend(LongSequence - 20)];
        Closeness.AssertSameBits(whole, Attend(Backend, parameters, q, k, v, 16, [255, 1, 1, LongSequence - 300, 43], scattered: false), "chunked");
        Closeness.AssertSameBits(whole, Attend(Backend, parameters, q, k, v, 16, oneByOneAtTheEnd, scattered: false), "decoded");
        Closeness.AssertSameBits(whole, Attend(Backend, parameters, q, k, v, 16, [LongSequence], scattered: true), "scattered blocks");
        Closeness.AssertSameBits(whole, Attend(Backend, parameters, q, k, v, 32, [LongSequence - 1, 1], scattered: true), "blocks of 32");
        Closeness.AssertSameBits(whole, Attend(Backend, parameters, q, k, v, 7, [LongSequence], scattered: true), "blocks of 7");
        using IComputeBackend single = CreateBackend(1);
        Closeness.AssertSameBits(whole, Attend(single, parameters, q, k, v, 16, oneByOneAtTheEnd, scattered: false), "one thread");
    }

    [Fact]
    public void Sequences_of_one_step_do_not_see_each_other()
    {
        AttentionParameters parameters = new(4, 2, 32, 0.2f, 0, 0);
        (HostTensor q1, HostTensor k1, HostTensor v1) = Sequence(parameters, 40, 5);
        (HostTensor q2, HostTensor k2, HostTensor v2) = Sequence(parameters, 19, 6);
        float[] alone1 = Attend(Backend, parameters, q1, k1, v1, 16, [40], scattered: false);
        float[] alone2 = Attend(Backend, parameters, q2, k2, v2, 16, [19], scattered: false);

        using KvCache cache = Backend.CreateKvCache(Shape(1, 8, 16, 2, 32));
        StepInputs step = new(64, 4);
        step.AddSequence(new int[19], 0, [7, 2]);
        step.AddSequence(new int[40], 0, [1, 5, 3]);
        Backend.BeginStep(step);
        using GuardedTensor q = new(Backend, Join(q2, q1));
        using GuardedTensor k = new(Backend, Join(k2, k1));
        using GuardedTensor v = new(Backend, Join(v2, v1));
        using GuardedTensor y = new(Backend, 59, q1.Columns);
        Backend.StoreKv(k.View, v.View, cache, 0);
        Backend.PagedAttention(q.View, cache, 0, parameters, y.View);

        float[] both = y.Read();
        Closeness.AssertSameBits(alone2, both.AsSpan(0, alone2.Length), "first sequence");
        Closeness.AssertSameBits(alone1, both.AsSpan(alone2.Length), "second sequence");
    }

    [Fact]
    public void Sequences_decoded_together_have_the_bits_of_each_alone()
    {
        AttentionParameters parameters = new(6, 3, 24, 0.2f, 0, 0);
        int columns = parameters.Heads * parameters.HeadSize;
        int[] lengths = [40, 3, 300, 18, 1];
        (HostTensor Q, HostTensor K, HostTensor V)[] sequences = [.. lengths.Select((length, i) => Sequence(parameters, length, 20 + i))];
        using KvCache cache = Backend.CreateKvCache(Shape(1, 32, 16, 3, 24));
        StepInputs step = new(512, 5);

        // All but the last token of each, then that of all at once, twice: the second time a device may repeat what it has recorded.
        int[][] blocks = [[3, 1, 0], [2], [.. Enumerable.Range(8, 19)], [5, 7], [4]];
        RunStep(cache, parameters, step, sequences, blocks, i => (0, lengths[i] - 1));
        float[] together = RunStep(cache, parameters, step, sequences, blocks, i => (lengths[i] - 1, 1));
        float[] again = RunStep(cache, parameters, step, sequences, blocks, i => (lengths[i] - 1, 1));

        Closeness.AssertSameBits(together, again, "again");
        for (int i = 0; i < lengths.Length; i++)
        {
            float[] alone = Attend(Backend, parameters, sequences[i].Q, sequences[i].K, sequences[i].V, 16, [lengths[i]], scattered: false);
            Closeness.AssertSameBits(alone.AsSpan(^columns), together.AsSpan(i * columns, columns), $"sequence {i}");
        }
    }

    [Fact]
    public void What_an_earlier_sequence_left_in_a_block_does_not_matter()
    {
        AttentionParameters parameters = new(2, 2, 16, 0.25f, 0, 0);
        (HostTensor q, HostTensor k, HostTensor v) = Sequence(parameters, 21, 8);
        float[] expected = Attend(Backend, parameters, q, k, v, 16, [21], scattered: false);

        using KvCache cache = Backend.CreateKvCache(Shape(1, 2, 16, 2, 16));
        HostTensor broken = new(32, 32);
        Array.Fill(broken.Values, float.NaN);
        using GuardedTensor nan = new(Backend, broken);
        StepInputs step = new(64, 4);
        step.AddSequence(new int[32], 0, [0, 1]);
        Backend.BeginStep(step);
        Backend.StoreKv(nan.View, nan.View, cache, 0);
        float[] actual = Attend(Backend, cache, parameters, q, k, v, [5, 16], [0, 1]);

        Closeness.AssertSameBits(expected, actual, "after NaN");
    }

    [Fact]
    public void A_block_outside_the_cache_is_refused()
    {
        using KvCache cache = Backend.CreateKvCache(Shape(1, 2, 16, 1, 16));
        StepInputs step = new(8, 1);
        step.AddSequence(new int[4], 0, [2]);
        Backend.BeginStep(step);
        using GuardedTensor k = new(Backend, HostTensor.Random(4, 16, 1));

        Assert.Throws<ArgumentException>(() => Backend.StoreKv(k.View, k.View, cache, 0));
    }

    private KvCacheShape Shape(int layers, int blocks, int blockSize, int kvHeads, int headSize) =>
        new(layers, blocks, blockSize, kvHeads, headSize, Backend.KeyValueFormat);

    private HostTensor Kept(HostTensor values) => Backend.KeyValueFormat == WeightFormat.BF16 ? values.RoundedToBFloat16() : values;

    private static (HostTensor Q, HostTensor K, HostTensor V) Sequence(AttentionParameters parameters, int tokens, int seed) => (
        HostTensor.Random(tokens, parameters.Heads * parameters.HeadSize, seed, 2),
        HostTensor.Random(tokens, parameters.KvHeads * parameters.HeadSize, seed + 100, 2),
        HostTensor.Random(tokens, parameters.KvHeads * parameters.HeadSize, seed + 200, 2));

    private static HostTensor Join(HostTensor first, HostTensor second)
    {
        HostTensor joined = new(first.Rows + second.Rows, first.Columns);
        first.Values.CopyTo(joined.Values, 0);
        second.Values.CopyTo(joined.Values, first.Values.Length);
        return joined;
    }

    private float[] Attend(
        IComputeBackend backend, AttentionParameters parameters, HostTensor q, HostTensor k, HostTensor v, int blockSize, int[] chunks, bool scattered)
    {
        int count = (q.Rows + blockSize - 1) / blockSize;
        int[] blocks = [.. Enumerable.Range(0, count)];
        if (scattered)
        {
            new Random(11).Shuffle(blocks);
        }

        using KvCache cache = backend.CreateKvCache(Shape(2, count, blockSize, parameters.KvHeads, parameters.HeadSize));
        return Attend(backend, cache, parameters, q, k, v, chunks, blocks);
    }

    /// <summary>One step with a part of each sequence: its first token and how many, none for 0.</summary>
    private float[] RunStep(
        KvCache cache,
        AttentionParameters parameters,
        StepInputs step,
        (HostTensor Q, HostTensor K, HostTensor V)[] sequences,
        int[][] blocks,
        Func<int, (int First, int Count)> part)
    {
        step.Clear();
        List<HostTensor> q = [];
        List<HostTensor> k = [];
        List<HostTensor> v = [];
        for (int i = 0; i < sequences.Length; i++)
        {
            (int first, int count) = part(i);
            if (count > 0)
            {
                step.AddSequence(new int[count], first, blocks[i]);
                q.Add(sequences[i].Q.Slice(first, count));
                k.Add(sequences[i].K.Slice(first, count));
                v.Add(sequences[i].V.Slice(first, count));
            }
        }

        Backend.BeginStep(step);
        using GuardedTensor queries = new(Backend, q.Aggregate(Join));
        using GuardedTensor keys = new(Backend, k.Aggregate(Join));
        using GuardedTensor values = new(Backend, v.Aggregate(Join));
        using GuardedTensor y = new(Backend, queries.View.Rows, queries.View.Columns);
        Backend.StoreKv(keys.View, values.View, cache, 0);
        Backend.PagedAttention(queries.View, cache, 0, parameters, y.View);
        return y.Read();
    }

    private static float[] Attend(
        IComputeBackend backend, KvCache cache, AttentionParameters parameters, HostTensor q, HostTensor k, HostTensor v, int[] chunks, int[] blocks)
    {
        List<float> results = [];
        StepInputs step = new(q.Rows, 1);
        int layer = cache.Shape.Layers - 1;
        int first = 0;
        foreach (int chunk in chunks)
        {
            step.Clear();
            step.AddSequence(new int[chunk], first, blocks);
            backend.BeginStep(step);
            using GuardedTensor queries = new(backend, q.Slice(first, chunk));
            using GuardedTensor keys = new(backend, k.Slice(first, chunk));
            using GuardedTensor values = new(backend, v.Slice(first, chunk));
            using GuardedTensor y = new(backend, chunk, q.Columns);
            backend.StoreKv(keys.View, values.View, cache, layer);
            backend.PagedAttention(queries.View, cache, layer, parameters, y.View);
            results.AddRange(y.Read());
            first += chunk;
        }

        Assert.Equal(q.Rows, first);
        return [.. results];
    }
}
