using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Sampling;
using InferenceServer.Tensors.Sampling;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Sampling;

public sealed class SamplerTests
{
    private static readonly SamplingSettings s_greedy = new() { Temperature = 0 };

    [Fact]
    public void Greedy_takes_the_lowest_of_equal_best_tokens()
    {
        Assert.Equal(2, Sample(s_greedy, [0, 1, 5, 5, 5, 4]));
        Assert.Equal(0, Sample(s_greedy, [-1, -1]));
    }

    [Fact]
    public void Draws_follow_the_distribution()
    {
        float[] logits = [0.5f, -1f, 2f, 0f, 1f, -3f, 0.25f];
        SamplingSettings settings = new() { Temperature = 0.8f, TopK = 6, MinP = 0.01f, Seed = 7 };
        const int Draws = 20000;
        int[] counts = new int[logits.Length];
        Sampler sampler = new(logits.Length);
        int[] tokens = new int[Draws + 1];
        for (int i = 0; i < Draws; i++)
        {
            Assert.Equal(SampleStatus.Sampled, sampler.Sample(settings, tokens.AsSpan(0, i + 1), 1, [], [.. logits], [], out int token));
            counts[token]++;
        }

        float[] expected = new float[logits.Length];
        sampler.Distribution(settings, [0], 1, [.. logits], expected);
        double chiSquare = 0;
        for (int i = 0; i < counts.Length; i++)
        {
            if (expected[i] == 0)
            {
                Assert.Equal(0, counts[i]);
            }
            else
            {
                double mean = expected[i] * Draws;
                chiSquare += (counts[i] - mean) * (counts[i] - mean) / mean;
            }
        }

        // 5 degrees of freedom: above 20.5 once in a thousand; the seed is fixed.
        Assert.True(chiSquare < 20.5, $"chi-square {chiSquare}");
    }

    [Fact]
    public void A_seed_gives_the_same_token_at_a_position_and_others_at_others()
    {
        float[] flat = new float[1000];
        SamplingSettings settings = new() { Seed = 11 };
        int[] tokens = new int[50];
        int[] first = [.. Enumerable.Range(1, 49).Select(length => Sample(settings, flat, tokens.AsSpan(0, length), 1))];
        int[] backwards = [.. Enumerable.Range(1, 49).Reverse().Select(length => Sample(settings, flat, tokens.AsSpan(0, length), 1)).Reverse()];
        int[] otherSeed = [.. Enumerable.Range(1, 49).Select(length => Sample(settings with { Seed = 12 }, flat, tokens.AsSpan(0, length), 1))];

        Assert.Equal(first, backwards);
        Assert.NotEqual(first, otherSeed);
        Assert.True(first.Distinct().Count() > 40);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Filters_equal_those_of_a_full_sort(int seed)
    {
        Random random = new(seed);
        foreach (int vocabulary in new[] { 1, 2, 3, 17, 64, 1009 })
        {
            for (int round = 0; round < 20; round++)
            {
                float[] logits = [.. Enumerable.Range(0, vocabulary).Select(_ => MathF.Round((float)random.NextDouble() * 12, round % 3))];
                int topK = random.Next(0, vocabulary + 2);
                float topP = 0.05f + ((float)random.NextDouble() * 0.95f);
                float[] actual = new float[vocabulary];
                new Sampler(vocabulary).Distribution(new SamplingSettings { TopK = topK, TopP = topP }, [], 0, [.. logits], actual);

                HashSet<int> expected = FullSort(logits, topK, topP);
                Assert.Equal(expected.Order(), Enumerable.Range(0, vocabulary).Where(id => actual[id] > 0));
            }
        }
    }

    [Fact]
    public void Penalties_look_at_what_they_should()
    {
        // Tokens 0 and 1 in the prompt, 1 (twice) and 2 in the output.
        int[] tokens = [0, 1, 1, 1, 2];
        float[] probabilities = new float[4];

        new Sampler(4).Distribution(new SamplingSettings { PresencePenalty = 1f, FrequencyPenalty = 0.5f }, tokens, 2, new float[4], probabilities);

        float[] weights = [1f, MathF.Exp(-2f), MathF.Exp(-1.5f), 1f];
        Assert.Equal(weights.Select(weight => MathF.Round(weight / weights.Sum(), 5)), probabilities.Select(p => MathF.Round(p, 5)));
    }

    [Fact]
    public void A_bias_moves_and_bans_tokens()
    {
        Assert.Equal(1, Sample(s_greedy with { LogitBias = [new(1, 10f)] }, [3, 0, 0]));
        Assert.Equal(1, Sample(s_greedy with { LogitBias = [new(0, float.NegativeInfinity)] }, [3, 1, 0]));
        Assert.Equal(2, Sample(s_greedy, [3, 1, 2], banned: [0]));
    }

    [Fact]
    public void Bad_logits_and_an_empty_choice_are_told_apart()
    {
        Sampler sampler = new(3);

        Assert.Equal(SampleStatus.NotFinite, sampler.Sample(s_greedy, [0], 1, [], [1, float.NaN, 2], [], out int token));
        Assert.Equal(-1, token);
        Assert.Equal(SampleStatus.NotFinite, sampler.Sample(s_greedy, [0], 1, [], [1, float.PositiveInfinity, 2], [], out _));
        Assert.Equal(SampleStatus.NothingLeft, sampler.Sample(s_greedy, [0], 1, [0, 1, 2], [1, 2, 3], [], out _));
    }

    [Fact]
    public void Logprobs_are_over_the_raw_distribution_whatever_the_settings()
    {
        float[] logits = [1f, 3f, 2f, 3f];
        float logSumExp = MathF.Log(logits.Sum(MathF.Exp));
        TokenLogprob[] logprobs = new TokenLogprob[4];

        Sampler sampler = new(4);
        sampler.Sample(new SamplingSettings { Temperature = 0.1f, LogitBias = [new(0, 100f)] }, [0], 1, [], [.. logits], logprobs, out int token);

        Assert.Equal(0, token);
        Assert.Equal([0, 1, 3, 2], logprobs.Select(one => one.TokenId));
        Assert.All(logprobs, one => Assert.Equal(logits[one.TokenId] - logSumExp, one.Logprob, 1e-5f));
    }

    [Fact]
    public void A_draw_allocates_nothing()
    {
        Sampler sampler = new(500);
        float[] source = [.. Enumerable.Range(0, 500).Select(i => MathF.Sin(i) * 3)];
        float[] logits = new float[500];
        int[] tokens = [.. Enumerable.Range(0, 100)];
        TokenLogprob[] logprobs = new TokenLogprob[6];
        SamplingSettings[] all =
        [
            s_greedy,
            new(),
            new() { TopK = 20, TopP = 0.9f, MinP = 0.01f, TypicalP = 0.9f, Temperature = 0.7f },
            new() { TopP = 0.9f, RepetitionPenalty = 1.1f, PresencePenalty = 1f, NoRepeatNgramSize = 3, LogitBias = [new(3, 1f)] },
        ];
        long allocated = 0;
        for (int round = 0; round < 20; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            foreach (SamplingSettings settings in all)
            {
                source.CopyTo(logits, 0);
                sampler.Sample(settings, tokens, 50, [], logits, logprobs, out _);
            }

            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Assert.Equal(0, allocated);
    }

    [Theory]
    [InlineData("sampling.temperature", "temperature")]
    [InlineData("sampling.top_p", "top_p")]
    [InlineData("sampling.top_k", "top_k")]
    [InlineData("sampling.repetition_penalty", "repetition")]
    [InlineData("sampling.logit_bias", "bias")]
    public void Values_out_of_bounds_are_refused_by_name(string field, string what)
    {
        SamplingParameters request = what switch
        {
            "temperature" => new SamplingParameters { Temperature = float.NaN },
            "top_p" => new SamplingParameters { TopP = 0f },
            "top_k" => new SamplingParameters { TopK = -1 },
            "repetition" => new SamplingParameters { RepetitionPenalty = 0f },
            _ => new SamplingParameters { LogitBias = new Dictionary<int, float> { [100] = 1f } },
        };

        InvalidRequestException error = Assert.Throws<InvalidRequestException>(() => SamplingSettings.Resolve(request, new SamplingParameters(), 100));

        Assert.Equal(field, error.Field);
    }

    [Fact]
    public void A_request_overrules_the_model_and_the_model_the_default()
    {
        SamplingParameters model = new() { Temperature = 0.6f, TopK = 50 };

        SamplingSettings settings = SamplingSettings.Resolve(new SamplingParameters { TopK = 0 }, model, 100);

        Assert.Equal(0.6f, settings.Temperature);
        Assert.Equal(0, settings.TopK);
        Assert.Equal(1f, settings.TopP);
    }

    private static HashSet<int> FullSort(float[] logits, int topK, float topP)
    {
        List<int> order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(id => logits[id]).ThenBy(id => id)];
        if (topK > 0 && topK < logits.Length)
        {
            order = [.. order.Where(id => logits[id] >= logits[order[topK - 1]])];
        }

        double total = order.Sum(id => (double)MathF.Exp(logits[id] - logits[order[0]]));
        HashSet<int> kept = [];
        double before = 0;
        foreach (int id in order)
        {
            if (kept.Count > 0 && topP < 1 && before >= topP * total)
            {
                break;
            }

            kept.Add(id);
            before += MathF.Exp(logits[id] - logits[order[0]]);
        }

        return kept;
    }

    private static int Sample(SamplingSettings settings, float[] logits, ReadOnlySpan<int> tokens = default, int promptLength = 0, int[]? banned = null)
    {
        SampleStatus status = new Sampler(logits.Length).Sample(settings, tokens, promptLength, banned ?? [], [.. logits], [], out int token);
        Assert.Equal(SampleStatus.Sampled, status);
        return token;
    }
}
