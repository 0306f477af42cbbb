using InferenceServer.Cuda;
using InferenceServer.Engine.Sampling;
using InferenceServer.Tensors.Sampling;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using InferenceServer.TestKit.Sampling;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Draws the same rows on the stand-in and by the engine's sampler.</summary>
internal static class SamplingBench
{
    // Sums of exponentials in f32 by the one, in steps of 2^-39 by the other, and logits of at most 100.
    private const float LogprobTolerance = 2e-5f;

    /// <summary>Draws on the device; the logits must stay as they are.</summary>
    public static SampledToken[] Draw(CudaBackend backend, HostTensor logits, SamplingBatch batch)
    {
        using GuardedTensor tensor = new(backend, logits);
        SampledToken[] tokens = new SampledToken[logits.Rows];
        backend.Sample(tensor.View, batch, tokens);
        Closeness.AssertSameBits(logits.Values, tensor.Read(), "the logits after the draw");
        return tokens;
    }

    public static SampledToken[] Expected(HostTensor logits, SamplingBatch batch)
    {
        SamplingSettings?[] settings = [.. batch.Rows.ToArray().Select(row => row.IsDrawn ? HostSampling.SettingsOf(batch, row) : null)];
        SampledToken[] tokens = new SampledToken[logits.Rows];
        new HostSampling(logits.Columns).Sample(logits.Values, batch, settings, tokens);
        return tokens;
    }

    public static void AssertAsTheHost(CudaBackend backend, HostTensor logits, SamplingBatch batch, string what)
    {
        SampledToken[] actual = Draw(backend, logits, batch);
        SampledToken[] expected = Expected(logits, batch);
        for (int row = 0; row < expected.Length; row++)
        {
            string place = $"{what}, row {row}: {batch.Rows[row]}";
            Assert.True(expected[row].Status == actual[row].Status, $"{actual[row]} instead of {expected[row]}, {place}");
            Assert.True(expected[row].Token == actual[row].Token, $"{actual[row]} instead of {expected[row]}, {place}");
            Assert.True(Math.Abs(expected[row].Logprob - actual[row].Logprob) <= LogprobTolerance, $"{actual[row]} instead of {expected[row]}, {place}");
        }
    }

    /// <summary>Draws a batch of all kinds of rows under every schedule: the tokens are the host's, and the same bits each time.</summary>
    public static void DrawMix(CudaBackend backend)
    {
        const int V = 4109;
        Random random = new(11);
        SamplingBatch batch = new();
        HostTensor logits = new(10, V);
        for (int row = 0; row < logits.Rows; row++)
        {
            if (row % 5 == 4)
            {
                batch.Add(Plain(1.2f, seed: 5, draw: row) with { TopK = 300, TopP = 0.8f, MinP = 0.01f * (row - 4) });
            }
            else
            {
                AddRandom(batch, V, random);
            }

            // Far from 0 in one row: what is taken relative to something else overflows.
            float[] values = Logits(1, V, row % 4, random).Values;
            Array.ConvertAll(values, value => row == 6 ? value + 1000 : value).CopyTo(logits.Values.AsSpan(row * V));
        }

        Schedules.SameBitsUnderAll(() =>
        {
            SampledToken[] drawn = Draw(backend, logits, batch);
            Assert.Equal(Expected(logits, batch).Select(one => (one.Token, one.Status)), drawn.Select(one => (one.Token, one.Status)));
            return [.. drawn.Select(one => one.Logprob)];
        });
    }

    /// <summary>Settings without any rule or filter.</summary>
    public static SamplingRow Plain(float temperature, ulong seed = 1, long draw = 0) => new()
    {
        Temperature = temperature,
        TopP = 1f,
        RepetitionPenalty = 1f,
        Seed = seed,
        Draw = draw,
        WantsLogprob = true,
    };

    /// <summary>Adds a row with settings and lists by chance: each rule and filter in about half of the rows.</summary>
    public static void AddRandom(SamplingBatch batch, int vocabularySize, Random random)
    {
        int[] output = Some(8);
        SamplingRow row = Plain(Chance() ? 0.2f + (2 * random.NextSingle()) : Chance() ? 1f : 0f, (ulong)random.NextInt64(), output.Length) with
        {
            WantsLogprob = Chance(),
            TopK = Chance() ? random.Next(1, Math.Min(vocabularySize, 200) + 2) : 0,
            TopP = Chance() ? 0.02f + (0.97f * random.NextSingle()) : 1f,
            MinP = random.Next(4) == 0 ? 0.2f * random.NextSingle() : 0f,
            RepetitionPenalty = Chance() ? 0.5f + (1.5f * random.NextSingle()) : 1f,
            PresencePenalty = Chance() ? (random.NextSingle() * 4) - 2 : 0f,
            FrequencyPenalty = Chance() ? (random.NextSingle() * 4) - 2 : 0f,
        };
        batch.Add(
            row,
            Chance() ? Some(20) : [],
            output,
            random.Next(4) == 0 ? Some(5) : [],
            random.Next(4) == 0 ? [.. Some(5).Distinct().Select(token => KeyValuePair.Create(token, (random.NextSingle() * 20) - 10))] : []);

        bool Chance() => random.Next(2) == 0;

        int[] Some(int most) => [.. Enumerable.Range(0, random.Next(most + 1)).Select(_ => random.Next(vocabularySize))];
    }

    /// <summary>Logits as models have them, by the kind's number: a bell, one with ties, nearly flat, peaked.</summary>
    public static HostTensor Logits(int rows, int columns, int kind, Random random)
    {
        HostTensor logits = new(rows, columns);
        for (int i = 0; i < logits.Values.Length; i++)
        {
            float bell = (random.NextSingle() + random.NextSingle() + random.NextSingle() - 1.5f) * 8;
            logits.Values[i] = kind switch
            {
                0 => bell,
                1 => MathF.Round(bell),
                2 => bell * 0.001f,
                _ => random.Next(50) == 0 ? bell + 20 : bell,
            };
        }

        return logits;
    }
}
