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
    [InlineData(1, 1, 288, 0f, 0, 260)]
    [InlineData(4, 2, 12, 0f, 7, 50)]
    [InlineData(4, 4, 64, 0f, 0, 100)]
    [InlineData(8, 2, 64, 0f, 0, 300)]
    [InlineData(4, 1, 80, 0f, 0, 33)]
    [InlineData(4, 2, 16, 30f, 0, 270)]
    [InlineData(2, 1, 128, 50f, 300, 700)]
    [InlineData(2, 2, 8, 0f, 1, 20)]
    [InlineData(7, 1, 64, 0f, 0, 40)]
    [InlineData(12, 2, 96, 0f, 0, 19)]
    [InlineData(17, 1, 32, 0f, 0, 21)]
    [InlineData(2, 1, 256, 0f, 30, 70)]
    [InlineData(2, 1, 288, 0f, 9, 18)]
    public void A_prefill_is_the_reference(int heads, int kvHeads, int headSize, float softCap, int window, int tokens)
    {
        AttentionParameters parameters = new(heads, kvHeads, headSize, 1 / MathF.Sqrt(headSize), softCap, window);
        AttentionSequence sequence = AttentionSequence.Random(parameters, tokens, 3);

        float[] y = sequence.Attend(Backend, parameters, 16, [tokens], scattered: false);

        Closeness.AssertClose(sequence.Reference(parameters, Backend.KeyValueFormat), y, Tolerance, "attention");
    }

    [Theory]
    [InlineData(16)]
    [InlineData(128)]
    [InlineData(200)]
    [InlineData(288)]
    public void A_few_rows_behind_many_keys_are_the_reference(int headSize)
    {
        const int Cached = 2090;
        const int Rows = 15;

        // A small scale: many keys count, and the errors of long products little.
        AttentionParameters parameters = new(2, 1, headSize, 0.5f / MathF.Sqrt(headSize), 0, 0);
        AttentionSequence sequence = AttentionSequence.Random(parameters, Cached + Rows, 7);
        int[] blocks = [.. Enumerable.Range(0, 132)];
        using KvCache cache = Backend.CreateKvCache(new KvCacheShape(1, blocks.Length, 16, 1, headSize, Backend.KeyValueFormat));
        sequence.Store(Backend, cache, Cached, blocks);

        float[] y = AttentionSequence.AttendStep(Backend, cache, parameters, new StepInputs(Rows, 1), [(sequence, Cached, Rows, blocks)]);

        AttentionSequence last = sequence with { Q = sequence.Q.Slice(Cached, Rows) };
        Closeness.AssertClose(last.Reference(parameters, Backend.KeyValueFormat), y, Tolerance, "attention");
    }

    [Theory]
    [InlineData(0, 0f)]
    [InlineData(100, 0f)]
    [InlineData(0, 20f)]
    public void Any_chunks_block_size_and_block_order_give_the_same_bits(int window, float softCap)
    {
        AttentionParameters parameters = new(4, 2, 20, 0.3f, softCap, window);
        int tokens = LongSequence;
        AttentionSequence sequence = AttentionSequence.Random(parameters, tokens, 4);

        float[] whole = sequence.Attend(Backend, parameters, 16, [tokens], scattered: false);

        int[] oneByOneAtTheEnd = [.. Enumerable.Repeat(1, 20).Prepend(tokens - 20)];
        Closeness.AssertSameBits(whole, sequence.Attend(Backend, parameters, 16, [255, 1, 1, tokens - 300, 43], scattered: false), "chunked");
        Closeness.AssertSameBits(whole, sequence.Attend(Backend, parameters, 16, oneByOneAtTheEnd, scattered: false), "decoded");
        Closeness.AssertSameBits(whole, sequence.Attend(Backend, parameters, 16, [tokens], scattered: true), "scattered blocks");
        Closeness.AssertSameBits(whole, sequence.Attend(Backend, parameters, 32, [tokens - 1, 1], scattered: true), "blocks of 32");
        Closeness.AssertSameBits(whole, sequence.Attend(Backend, parameters, 7, [tokens], scattered: true), "blocks of 7");
        using IComputeBackend single = CreateBackend(1);
        Closeness.AssertSameBits(whole, sequence.Attend(single, parameters, 16, oneByOneAtTheEnd, scattered: false), "one thread");
    }

    /// <summary>Every weighted value is too small for a number, so that sums are zeros whose signs tell in which order they were joined.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(300)]
    public void Any_chunks_give_zeros_of_the_same_sign(int window)
    {
        AttentionParameters parameters = new(2, 1, 16, 1f, 0, window);
        AttentionSequence sequence = AttentionSequence.Random(parameters, 600, 9);

        // One key of 128 has nearly all of the weight, and the others have values.
        sequence.Q.Values.AsSpan().Fill(1);
        for (int token = 0; token < 600; token++)
        {
            sequence.K.Values.AsSpan(token * 16, 16).Fill(token % 128 == 0 ? 1 : 0);
            sequence.V.Values.AsSpan(token * 16, 16).Fill(token % 128 == 0 ? 0 : -float.Epsilon);
        }

        float[] expected = sequence.Attend(Backend, parameters, 16, [600], scattered: false);
        float[] actual = sequence.Attend(Backend, parameters, 16, [260, 1, 1, 37, 1, 270, 1, 29], scattered: false);

        Closeness.AssertSameBits(expected, actual, "chunks");
    }

    [Fact]
    public void Sequences_of_one_step_do_not_see_each_other()
    {
        AttentionParameters parameters = new(4, 2, 32, 0.2f, 0, 0);
        AttentionSequence first = AttentionSequence.Random(parameters, 40, 5);
        AttentionSequence second = AttentionSequence.Random(parameters, 19, 6);
        float[] alone1 = first.Attend(Backend, parameters, 16, [40], scattered: false);
        float[] alone2 = second.Attend(Backend, parameters, 16, [19], scattered: false);

        using KvCache cache = Backend.CreateKvCache(new KvCacheShape(1, 8, 16, 2, 32, Backend.KeyValueFormat));
        float[] both = AttentionSequence.AttendStep(
            Backend, cache, parameters, new StepInputs(64, 4), [(second, 0, 19, [7, 2]), (first, 0, 40, [1, 5, 3])]);

        Closeness.AssertSameBits(alone2, both.AsSpan(0, alone2.Length), "second sequence");
        Closeness.AssertSameBits(alone1, both.AsSpan(alone2.Length), "first sequence");
    }

    [Fact]
    public void Sequences_decoded_together_have_the_bits_of_each_alone()
    {
        AttentionParameters parameters = new(6, 3, 24, 0.2f, 0, 0);
        int columns = parameters.Heads * parameters.HeadSize;
        int[] lengths = [40, 3, 300, 18, 2];
        int[][] blocks = [[3, 1, 0], [2], [.. Enumerable.Range(8, 19)], [5, 7], [4]];
        AttentionSequence[] sequences = [.. lengths.Select((length, i) => AttentionSequence.Random(parameters, length, 20 + i))];
        using KvCache cache = Backend.CreateKvCache(new KvCacheShape(1, 32, 16, 3, 24, Backend.KeyValueFormat));
        StepInputs step = new(512, 5);

        // All but the last token of each, then that of all at once, twice: the second time a device may repeat what it has recorded.
        AttentionSequence.AttendStep(Backend, cache, parameters, step, [.. sequences.Select((sequence, i) => (sequence, 0, lengths[i] - 1, blocks[i]))]);
        float[] together = Decode();
        float[] again = Decode();

        Closeness.AssertSameBits(together, again, "again");
        for (int i = 0; i < lengths.Length; i++)
        {
            float[] alone = sequences[i].Attend(Backend, parameters, 16, [lengths[i] - 1, 1], scattered: false);
            Closeness.AssertSameBits(alone.AsSpan(^columns..), together.AsSpan(i * columns, columns), $"sequence {i}");
        }

        float[] Decode() => AttentionSequence.AttendStep(
            Backend, cache, parameters, step, [.. sequences.Select((sequence, i) => (sequence, lengths[i] - 1, 1, blocks[i]))]);
    }

    [Fact]
    public void What_an_earlier_sequence_left_in_a_block_does_not_matter()
    {
        AttentionParameters parameters = new(2, 2, 16, 0.25f, 0, 0);
        AttentionSequence sequence = AttentionSequence.Random(parameters, 21, 8);
        float[] expected = sequence.Attend(Backend, parameters, 16, [21], scattered: false);

        using KvCache cache = Backend.CreateKvCache(new KvCacheShape(1, 2, 16, 2, 16, Backend.KeyValueFormat));
        HostTensor broken = new(32, 32);
        Array.Fill(broken.Values, float.NaN);
        using GuardedTensor nan = new(Backend, broken);
        StepInputs step = new(64, 4);
        step.AddSequence(new int[32], 0, [0, 1]);
        Backend.BeginStep(step);
        Backend.StoreKv(nan.View, nan.View, cache, 0);
        float[] actual = sequence.Attend(Backend, cache, parameters, [5, 16], [0, 1]);

        Closeness.AssertSameBits(expected, actual, "after NaN");
    }

    [Fact]
    public void A_block_outside_the_cache_is_refused()
    {
        using KvCache cache = Backend.CreateKvCache(new KvCacheShape(1, 2, 16, 1, 16, Backend.KeyValueFormat));
        StepInputs step = new(8, 1);
        step.AddSequence(new int[4], 0, [2]);
        Backend.BeginStep(step);
        using GuardedTensor k = new(Backend, HostTensor.Random(4, 16, 1));

        Assert.Throws<ArgumentException>(() => Backend.StoreKv(k.View, k.View, cache, 0));
    }
}
