using System.Numerics.Tensors;
using InferenceServer.Engine.Requests;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Sampling;

namespace InferenceServer.Engine.Sampling;

/// <summary>
/// Draws the next token of one sequence from its logits. Everything that it depends on is in its arguments, so a sequence gets the same
/// tokens whatever its neighbours; scratch is kept between calls, and a call allocates nothing. One thread.
/// </summary>
/// <remarks>
/// Order: logit bias, repetition penalty, presence and frequency penalties, no-repeat n-grams, banned tokens, then greedy, or temperature,
/// top-k, top-p, min-p, typical and a draw; <see cref="ISamplingBackend"/> has the formulas.
/// </remarks>
public sealed class Sampler
{
    private readonly LogitRules _rules;
    private readonly Candidates _candidates;
    private readonly float[] _raw;

    public Sampler(int vocabularySize)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabularySize, 1);
        VocabularySize = vocabularySize;
        _rules = new LogitRules(vocabularySize);
        _candidates = new Candidates(vocabularySize);
        _raw = new float[vocabularySize];
    }

    public int VocabularySize { get; }

    /// <summary>Draws a token.</summary>
    /// <param name="settings">How.</param>
    /// <param name="tokens">The sequence so far.</param>
    /// <param name="promptLength">How many of these are the prompt.</param>
    /// <param name="banned">Tokens that must not be drawn now.</param>
    /// <param name="logits">The logits of the next token; changed.</param>
    /// <param name="logprobs">Receives the log-probability of the drawn token and of the best ones, first the drawn one's; empty for none.</param>
    /// <param name="token">The drawn token; -1 when there is none.</param>
    public SampleStatus Sample(
        SamplingSettings settings,
        ReadOnlySpan<int> tokens,
        int promptLength,
        ReadOnlySpan<int> banned,
        Span<float> logits,
        Span<TokenLogprob> logprobs,
        out int token)
    {
        ArgumentNullException.ThrowIfNull(settings);
        token = -1;
        if (!Logprobs.TryFindBest(logits, out int best) || !float.IsFinite(logits[best]))
        {
            return SampleStatus.NotFinite;
        }

        float logSumExp = 0;
        if (logprobs.Length > 0)
        {
            logSumExp = Logprobs.LogSumExp(logits, logits[best]);
            Logprobs.Best(logits, logSumExp, logprobs[1..]);
            logits.CopyTo(_raw);
        }

        if (ApplyRules(settings, tokens, promptLength, banned, logits))
        {
            if (!Logprobs.TryFindBest(logits, out best))
            {
                return SampleStatus.NotFinite;
            }

            if (float.IsNegativeInfinity(logits[best]))
            {
                return SampleStatus.NothingLeft;
            }
        }

        token = settings.IsGreedy ? best : Draw(settings, tokens.Length - promptLength, logits, best);
        if (logprobs.Length > 0)
        {
            logprobs[0] = new TokenLogprob(token, _raw[token] - logSumExp);
        }

        return SampleStatus.Sampled;
    }

    /// <summary>The probabilities that <see cref="Sample"/> draws from when the settings are not greedy: 0 for what is filtered out.</summary>
    /// <param name="settings">How.</param>
    /// <param name="tokens">The sequence so far.</param>
    /// <param name="promptLength">How many of these are the prompt.</param>
    /// <param name="logits">The logits of the next token; changed.</param>
    /// <param name="probabilities">Receives one for each token.</param>
    public void Distribution(
        SamplingSettings settings, ReadOnlySpan<int> tokens, int promptLength, Span<float> logits, Span<float> probabilities)
    {
        ArgumentNullException.ThrowIfNull(settings);
        ApplyRules(settings, tokens, promptLength, [], logits);
        Filter(settings, logits, TensorPrimitives.IndexOfMax<float>(logits));
        probabilities.Clear();
        float total = TensorPrimitives.Sum(_candidates.Weights);
        for (int i = 0; i < _candidates.Ids.Length; i++)
        {
            probabilities[_candidates.Ids[i]] = _candidates.Weights[i] / total;
        }
    }

    private bool ApplyRules(SamplingSettings settings, ReadOnlySpan<int> tokens, int promptLength, ReadOnlySpan<int> banned, Span<float> logits)
    {
        bool isChanged = false;
        if (settings.LogitBias.Length > 0)
        {
            LogitRules.AddBias(settings.LogitBias, logits);
            isChanged = true;
        }

        if (settings.RepetitionPenalty != 1f)
        {
            _rules.PenaliseRepetition(settings.RepetitionPenalty, tokens, logits);
            isChanged = true;
        }

        if (settings.PresencePenalty != 0f || settings.FrequencyPenalty != 0f)
        {
            _rules.PenaliseOutput(settings.PresencePenalty, settings.FrequencyPenalty, tokens[promptLength..], logits);
            isChanged = true;
        }

        if (settings.NoRepeatNgramSize > 0)
        {
            LogitRules.BanRepeatedNgrams(settings.NoRepeatNgramSize, tokens, logits);
            isChanged = true;
        }

        if (banned.Length > 0)
        {
            LogitRules.Ban(banned, logits);
            isChanged = true;
        }

        return isChanged;
    }

    private int Draw(SamplingSettings settings, int position, Span<float> logits, int best)
    {
        Filter(settings, logits, best);
        return _candidates.Draw(Philox.Uniform(settings.Seed, position));
    }

    private void Filter(SamplingSettings settings, Span<float> logits, int best)
    {
        if (settings.Temperature != 1f)
        {
            TensorPrimitives.Divide(logits, settings.Temperature, logits);
        }

        _candidates.Take(logits, logits[best], settings.TopK);
        if (settings.TopP < 1f)
        {
            _candidates.KeepTopP(logits, settings.TopP);
        }

        if (settings.MinP > 0f)
        {
            _candidates.KeepMinP(settings.MinP);
        }

        if (settings.TypicalP < 1f)
        {
            _candidates.KeepTypical(settings.TypicalP);
        }
    }
}
