namespace InferenceServer.Engine.Sampling;

/// <summary>The rules that look at the tokens so far: each changes logits in place. Scratch is kept between calls.</summary>
internal sealed class LogitRules
{
    private readonly int[] _counts;

    public LogitRules(int vocabularySize) => _counts = new int[vocabularySize];

    /// <summary>Adds each bias to its token's logit.</summary>
    public static void AddBias(ReadOnlySpan<KeyValuePair<int, float>> bias, Span<float> logits)
    {
        foreach ((int token, float value) in bias)
        {
            logits[token] += value;
        }
    }

    /// <summary>
    /// Divides the positive and multiplies the negative logits of all tokens seen, prompt included, by the penalty
    /// (Keskar et al. 2019, section 4.1, with the sign rule of transformers).
    /// </summary>
    public void PenaliseRepetition(float penalty, ReadOnlySpan<int> tokens, Span<float> logits)
    {
        foreach (int token in tokens)
        {
            if (_counts[token]++ == 0)
            {
                logits[token] = logits[token] < 0 ? logits[token] * penalty : logits[token] / penalty;
            }
        }

        Forget(tokens);
    }

    /// <summary>Subtracts from every token of the output: the presence penalty once, the frequency penalty for each time.</summary>
    public void PenaliseOutput(float presence, float frequency, ReadOnlySpan<int> output, Span<float> logits)
    {
        foreach (int token in output)
        {
            _counts[token]++;
        }

        foreach (int token in output)
        {
            if (_counts[token] != 0)
            {
                logits[token] -= presence + (frequency * _counts[token]);
                _counts[token] = 0;
            }
        }
    }

    /// <summary>Bans every token that would complete an n-gram already among the tokens.</summary>
    public static void BanRepeatedNgrams(int size, ReadOnlySpan<int> tokens, Span<float> logits)
    {
        if (tokens.Length + 1 < size)
        {
            return;
        }

        ReadOnlySpan<int> last = tokens[(tokens.Length - size + 1)..];
        for (int start = 0; start + size <= tokens.Length; start++)
        {
            if (tokens.Slice(start, size - 1).SequenceEqual(last))
            {
                logits[tokens[start + size - 1]] = float.NegativeInfinity;
            }
        }
    }

    public static void Ban(ReadOnlySpan<int> tokens, Span<float> logits)
    {
        foreach (int token in tokens)
        {
            logits[token] = float.NegativeInfinity;
        }
    }

    private void Forget(ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens)
        {
            _counts[token] = 0;
        }
    }
}
