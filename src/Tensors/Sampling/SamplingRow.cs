namespace InferenceServer.Tensors.Sampling;

/// <summary>How the token of one row is drawn; <see cref="ISamplingBackend.Sample"/> says what each number does.</summary>
public readonly record struct SamplingRow
{
    /// <summary>Whether a token is drawn here at all.</summary>
    public bool IsDrawn { get; init; }

    /// <summary>Whether the token's log-probability is wanted.</summary>
    public bool WantsLogprob { get; init; }

    /// <summary>Above 0; 0 takes the best token.</summary>
    public float Temperature { get; init; }

    /// <summary>0 for all.</summary>
    public int TopK { get; init; }

    /// <summary>In (0, 1]; 1 for all.</summary>
    public float TopP { get; init; }

    /// <summary>In [0, 1]; 0 for all.</summary>
    public float MinP { get; init; }

    /// <summary>Above 0; 1 for none.</summary>
    public float RepetitionPenalty { get; init; }

    public float PresencePenalty { get; init; }

    public float FrequencyPenalty { get; init; }

    public ulong Seed { get; init; }

    /// <summary>Which of the seed's random numbers: how many tokens the request has drawn before.</summary>
    public long Draw { get; init; }

    /// <summary>First of its tokens in <see cref="SamplingBatch.Tokens"/>: prompt, output, then banned ones.</summary>
    public int FirstToken { get; init; }

    /// <summary>Tokens of the prompt that the repetition penalty looks at.</summary>
    public int PromptCount { get; init; }

    /// <summary>Tokens of the output that the penalties look at.</summary>
    public int OutputCount { get; init; }

    /// <summary>Tokens that must not be drawn.</summary>
    public int BannedCount { get; init; }

    /// <summary>First of its entries in <see cref="SamplingBatch.Biases"/>; each names another token.</summary>
    public int FirstBias { get; init; }

    public int BiasCount { get; init; }
}
