using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Sampling;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>A token drawn on the device is the one that the engine's sampler draws.</summary>
[Collection(StandInCollection.Name)]
public sealed class SamplingTests
{
    [StandInTheory]
    [InlineData(1, 12)]
    [InlineData(2, 12)]
    [InlineData(31, 12)]
    [InlineData(33, 12)]
    [InlineData(1009, 12)]
    [InlineData(4096, 12)]
    [InlineData(4097, 12)]
    [InlineData(50257, 3)]
    [InlineData(131071, 1)]
    public void Every_mix_of_rules_and_filters_draws_what_the_host_draws(int vocabularySize, int rows)
    {
        using CudaBackend backend = CudaTestBackend.Create();
        for (int kind = 0; kind < 4; kind++)
        {
            Random random = new(vocabularySize + kind);
            SamplingBatch batch = new();
            for (int row = 0; row < rows; row++)
            {
                SamplingBench.AddRandom(batch, vocabularySize, random);
            }

            SamplingBench.AssertAsTheHost(backend, SamplingBench.Logits(rows, vocabularySize, kind, random), batch, $"V {vocabularySize}, kind {kind}");
        }
    }

    [StandInFact]
    public void Long_histories_are_counted()
    {
        const int V = 4200;
        using CudaBackend backend = CudaTestBackend.Create();
        Random random = new(8);
        HostTensor logits = SamplingBench.Logits(3, V, 0, random);
        int[] prompt = [.. Enumerable.Range(0, 3000).Select(_ => random.Next(V))];
        int[] output = [.. Enumerable.Range(0, 3000).Select(_ => random.Next(0, 50) * (V / 50))];
        SamplingRow row = SamplingBench.Plain(0.9f, draw: output.Length) with { FrequencyPenalty = 0.02f, PresencePenalty = -0.3f };
        SamplingBatch batch = new();
        batch.Add(row with { RepetitionPenalty = 1.7f }, prompt, output);
        batch.Add(row with { RepetitionPenalty = 0.6f, TopK = 40 }, prompt, output);
        batch.Add(row, output: output);

        SamplingBench.AssertAsTheHost(backend, logits, batch, "long histories");
    }

    [StandInFact]
    public void A_vocabulary_too_large_to_sum_is_refused()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using DeviceBuffer logits = backend.Allocate(((1L << 20) + 1) * sizeof(float), "logits");
        SamplingBatch batch = new();
        batch.Add(SamplingBench.Plain(1f));

        ArgumentException error = Assert.Throws<ArgumentException>(
            () => backend.Sample(new TensorView(logits, 1, (1 << 20) + 1), batch, new SampledToken[1]));

        Assert.Contains("1048577 is not in [1, 1048576]", error.Message, StringComparison.Ordinal);
    }

    // More equal tokens than are gathered, so that the row itself is searched; the cut goes through the middle of them.
    [StandInTheory]
    [InlineData(0, 0.4f)]
    [InlineData(9500, 1f)]
    [InlineData(9500, 0.3f)]
    [InlineData(700, 0.9f)]
    public void Equal_logits_are_cut_by_their_ids(int topK, float topP)
    {
        using CudaBackend backend = CudaTestBackend.Create();
        HostTensor logits = new(4, 10007);
        Array.Fill(logits.Values, 3f, 0, 10007);
        for (int i = 0; i < 3 * 10007; i++)
        {
            logits.Values[10007 + i] = i % 17 == 0 ? 2f : i % 5 == 0 ? 1.99f : 2.01f;
        }

        SamplingBatch batch = new();
        for (int row = 0; row < 4; row++)
        {
            batch.Add(SamplingBench.Plain(0.7f, seed: 3, draw: row) with { TopK = topK, TopP = topP });
        }

        SamplingBench.AssertAsTheHost(backend, logits, batch, "equal logits");
    }

    [StandInFact]
    public void The_lowest_of_equal_best_tokens_is_taken()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        HostTensor logits = new(1, 9001);
        foreach (int id in (int[])[8999, 5000, 4097, 4096])
        {
            logits[0, id] = 7f;
            SamplingBatch batch = new();
            batch.Add(SamplingBench.Plain(0f));

            Assert.Equal(id, SamplingBench.Draw(backend, logits, batch)[0].Token);
        }
    }

    [StandInFact]
    public void Bad_logits_and_an_empty_choice_are_told_apart()
    {
        const int V = 4100;
        using CudaBackend backend = CudaTestBackend.Create();
        HostTensor logits = HostTensor.Random(10, V, 1);
        SamplingBatch batch = new();
        int[] all = [.. Enumerable.Range(0, V)];
        SamplingRow filtered = SamplingBench.Plain(0.8f) with { TopK = 5, TopP = 0.9f };
        logits[0, 4099] = float.NaN;
        batch.Add(filtered);
        logits[1, 17] = float.PositiveInfinity;
        batch.Add(SamplingBench.Plain(0f));
        logits.Values.AsSpan(2 * V, V).Fill(float.NegativeInfinity);
        batch.Add(filtered);
        batch.Add(filtered, banned: all);
        batch.Add(SamplingBench.Plain(0f), biases: [.. all.Select(id => KeyValuePair.Create(id, float.NegativeInfinity))]);
        batch.Add(filtered, biases: [KeyValuePair.Create(4098, float.PositiveInfinity)]);
        batch.Add(filtered with { TopK = 0 }, banned: all.AsSpan()[1..]);

        // A banned NaN is a NaN; tokens that were minus infinity do not matter.
        logits[7, 3] = float.NaN;
        batch.Add(filtered, banned: [3]);
        logits.Values.AsSpan(8 * V, V - 2).Fill(float.NegativeInfinity);
        batch.Add(filtered);
        batch.AddLeftOut();

        SamplingBench.AssertAsTheHost(backend, logits, batch, "statuses");
        Assert.Equal(
            [
                SampleStatus.NotFinite, SampleStatus.NotFinite, SampleStatus.NotFinite, SampleStatus.NothingLeft, SampleStatus.NothingLeft,
                SampleStatus.NotFinite, SampleStatus.Sampled, SampleStatus.NotFinite, SampleStatus.Sampled, default,
            ],
            SamplingBench.Draw(backend, logits, batch).Select(drawn => drawn.Status));
    }

    [StandInFact]
    public void A_row_left_out_is_not_written()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using DeviceBuffer logits = backend.Allocate(3 * 40 * sizeof(float), "logits");
        SamplingBatch batch = new();
        batch.AddLeftOut();
        batch.Add(SamplingBench.Plain(1f));
        batch.AddLeftOut();
        SampledToken mine = new(-5, SampleStatus.NothingLeft, 7f);
        SampledToken[] tokens = [mine, mine, mine];

        backend.Sample(new TensorView(logits, 3, 40), batch, tokens);

        Assert.Equal(mine, tokens[0]);
        Assert.Equal(SampleStatus.Sampled, tokens[1].Status);
        Assert.Equal(mine, tokens[2]);
    }

    [StandInFact]
    public void A_row_has_the_same_bits_whatever_its_neighbours()
    {
        const int V = 5003;
        using CudaBackend backend = CudaTestBackend.Create();
        Random random = new(5);
        HostTensor logits = SamplingBench.Logits(6, V, 3, random);
        SamplingRow[] rows =
        [
            .. Enumerable.Range(0, 6).Select(row => SamplingBench.Plain(1.5f, seed: 9, draw: row) with { TopK = row % 2 * 100, TopP = 1f - (0.05f * row) }),
        ];
        int[] output = [.. Enumerable.Range(0, 300).Select(_ => random.Next(V))];
        SampledToken[] together = SamplingBench.Draw(backend, logits, Batch(rows));

        for (int row = 0; row < rows.Length; row++)
        {
            Assert.Equal(together[row], SamplingBench.Draw(backend, logits.Slice(row, 1), Batch([rows[row]]))[0]);
        }

        SamplingBatch Batch(ReadOnlySpan<SamplingRow> chosen)
        {
            SamplingBatch batch = new();
            foreach (SamplingRow row in chosen)
            {
                batch.Add(row with { FrequencyPenalty = 0.5f }, output: output);
            }

            return batch;
        }
    }

    [StandInFact]
    public void Draws_have_the_same_bits_under_every_schedule()
    {
        using CudaBackend backend = CudaTestBackend.Create();

        SamplingBench.DrawMix(backend);
    }

    [StandInFact]
    public void A_warm_draw_allocates_nothing()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using DeviceBuffer logits = backend.Allocate(4 * 100 * sizeof(float), "logits");
        SamplingBatch batch = new();
        SampledToken[] tokens = new SampledToken[4];
        int[] history = [.. Enumerable.Range(0, 50)];
        long allocated = 0;
        for (int round = 0; round < 5; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            batch.Clear();
            for (int row = 0; row < 4; row++)
            {
                batch.Add(SamplingBench.Plain(1f, draw: round) with { TopP = 0.9f, RepetitionPenalty = 1.2f }, history);
            }

            backend.Sample(new TensorView(logits, 4, 100), batch, tokens);
            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Assert.Equal(0, allocated);
    }

    [Theory]
    [InlineData(0, 3)]
    [InlineData(40, 0)]
    [InlineData(-1, 0)]
    public void Arguments_that_do_not_fit_are_refused(int token, int tooMany)
    {
        SamplingBatch batch = new();
        batch.Add(SamplingBench.Plain(1f), output: [token]);
        using TestBuffer buffer = new();

        ArgumentException error = Assert.Throws<ArgumentException>(
            () => OperationChecks.Sample(new TensorView(buffer, 1, 40), batch, new SampledToken[1 + tooMany]));

        Assert.Contains(tooMany > 0 ? "room for 4" : $"token {token} of 40", error.Message, StringComparison.Ordinal);
    }

    private sealed class TestBuffer() : DeviceBuffer(4096, "test")
    {
        protected override void Dispose(bool disposing)
        {
        }
    }
}
