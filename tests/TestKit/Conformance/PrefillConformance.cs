using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>Attention of sequences with many rows in a step, for the head sizes of common models: a backend may have a way of its own for them.</summary>
public abstract class PrefillConformance : BackendConformance
{
    /// <summary>Largest relative distance from the reference over keys and values as the cache keeps them.</summary>
    protected virtual double Tolerance => 1e-6;

    [Theory]
    [InlineData(4, 4, 64, 0f, 0, 65, 16)]
    [InlineData(8, 2, 64, 0f, 0, 150, 16)]
    [InlineData(7, 1, 64, 30f, 0, 64, 32)]
    [InlineData(2, 1, 80, 0f, 0, 150, 16)]
    [InlineData(6, 2, 96, 0f, 110, 200, 7)]
    [InlineData(6, 1, 128, 0f, 0, 127, 16)]
    [InlineData(2, 2, 128, 20f, 65, 200, 16)]
    [InlineData(2, 1, 256, 0f, 0, 40, 16)]
    [InlineData(1, 1, 256, 50f, 17, 50, 16)]
    [InlineData(1, 1, 64, 0f, 1, 16, 16)]
    public void A_prefill_is_the_reference(int heads, int kvHeads, int headSize, float softCap, int window, int tokens, int blockSize)
    {
        AttentionParameters parameters = new(heads, kvHeads, headSize, 1 / MathF.Sqrt(headSize), softCap, window);
        AttentionSequence sequence = AttentionSequence.Random(parameters, tokens, 3);

        float[] y = sequence.Attend(Backend, parameters, blockSize, [tokens], scattered: true);

        Closeness.AssertClose(sequence.Reference(parameters, Backend.KeyValueFormat), y, Tolerance, "attention");
    }

    [Theory]
    [InlineData(0, 0f)]
    [InlineData(30, 0f)]
    [InlineData(0, 20f)]
    public void A_prefill_in_chunks_has_the_same_bits(int window, float softCap)
    {
        AttentionParameters parameters = new(4, 2, 64, 0.3f, softCap, window);
        AttentionSequence sequence = AttentionSequence.Random(parameters, 150, 4);

        float[] whole = sequence.Attend(Backend, parameters, 16, [150], scattered: false);

        Closeness.AssertSameBits(whole, sequence.Attend(Backend, parameters, 7, [17, 16, 64, 53], scattered: true), "chunked");
    }

    [Theory]
    [InlineData(64, 21)]
    [InlineData(80, 21)]
    [InlineData(96, 21)]
    [InlineData(128, 21)]
    [InlineData(256, 33)]
    public void What_an_earlier_sequence_left_in_a_block_does_not_matter(int headSize, int tokens)
    {
        AttentionParameters parameters = new(2, 2, headSize, 0.25f, 0, 0);
        AttentionSequence sequence = AttentionSequence.Random(parameters, tokens, 8);
        float[] expected = sequence.Attend(Backend, parameters, 16, [tokens], scattered: false);

        using KvCache cache = Backend.CreateKvCache(new KvCacheShape(1, 3, 16, 2, headSize, Backend.KeyValueFormat));
        HostTensor broken = new(48, 2 * headSize);
        Array.Fill(broken.Values, float.NaN);
        AttentionSequence nan = new(new HostTensor(48, 2 * headSize), broken, broken);
        nan.Store(Backend, cache, 48, [0, 1, 2]);

        Closeness.AssertSameBits(expected, sequence.Attend(Backend, cache, parameters, [tokens], [2, 0, 1]), "after NaN");
    }

    [Fact]
    public void Prefills_and_decodes_of_one_step_have_the_bits_of_each_alone()
    {
        AttentionParameters parameters = new(4, 2, 64, 0.2f, 0, 0);
        int columns = parameters.Heads * parameters.HeadSize;
        (int Cached, int Rows, int[] Blocks)[] parts = [(20, 1, [4, 2]), (5, 40, [0, 1, 3]), (0, 15, [5]), (40, 70, [6, 7, 8, 9, 10, 11, 12]), (33, 2, [13, 15, 14])];
        AttentionSequence[] sequences = [.. parts.Select((part, i) => AttentionSequence.Random(parameters, part.Cached + part.Rows, 20 + i))];
        using KvCache cache = Backend.CreateKvCache(new KvCacheShape(1, 16, 16, 2, 64, Backend.KeyValueFormat));
        StepInputs step = new(256, 8);
        (AttentionSequence, int, int, int[])[] before = [.. parts.Select((part, i) => (sequences[i], 0, part.Cached, part.Blocks)).Where(part => part.Cached > 0)];
        AttentionSequence.AttendStep(Backend, cache, parameters, step, before);

        float[] together = AttentionSequence.AttendStep(
            Backend, cache, parameters, step, [.. parts.Select((part, i) => (sequences[i], part.Cached, part.Rows, part.Blocks))]);

        int at = 0;
        for (int i = 0; i < parts.Length; i++)
        {
            int[] chunks = parts[i].Cached > 0 ? [parts[i].Cached, parts[i].Rows] : [parts[i].Rows];
            float[] alone = sequences[i].Attend(Backend, parameters, 16, chunks, scattered: false);
            int length = parts[i].Rows * columns;
            Closeness.AssertSameBits(alone.AsSpan(^length..), together.AsSpan(at, length), $"sequence {i}");
            at += length;
        }
    }
}
