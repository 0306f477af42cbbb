namespace InferenceServer.Engine.Requests;

/// <summary>
/// How the next token is drawn. A null takes the model's generation_config.json, then the default named here. Order of application as in
/// transformers: logit bias, repetition penalty, presence and frequency penalties, no-repeat n-grams, temperature, top-k, top-p, min-p, typical.
/// </summary>
public sealed record SamplingParameters
{
    /// <summary>0 is greedy; at most 100; default 1.</summary>
    public float? Temperature { get; init; }

    /// <summary>Keep the k best; 0 for all.</summary>
    public int? TopK { get; init; }

    /// <summary>Keep the smallest set with this probability, in (0, 1].</summary>
    public float? TopP { get; init; }

    /// <summary>Drop what is less probable than this share of the best, in [0, 1].</summary>
    public float? MinP { get; init; }

    /// <summary>Locally typical sampling, in (0, 1].</summary>
    public float? TypicalP { get; init; }

    /// <summary>Above 0; 1 for none; over prompt and output (Keskar et al. 2019, section 4.1).</summary>
    public float? RepetitionPenalty { get; init; }

    /// <summary>In [-2, 2]; subtracted once from every token already in the output.</summary>
    public float? PresencePenalty { get; init; }

    /// <summary>In [-2, 2]; subtracted for each time a token is in the output.</summary>
    public float? FrequencyPenalty { get; init; }

    /// <summary>No n-gram of this size twice; 0 for no rule.</summary>
    public int? NoRepeatNgramSize { get; init; }

    /// <summary>Same seed, same tokens, whatever the neighbours in the batch; null to draw one.</summary>
    public ulong? Seed { get; init; }

    /// <summary>Added to the logits, by token id.</summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }
}
