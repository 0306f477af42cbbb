using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;

namespace InferenceServer.Engine.Sampling;

/// <summary>How the next token is drawn, every choice made and checked: a request's <see cref="SamplingParameters"/> over the model's.</summary>
public sealed record SamplingSettings
{
    public const float MaxTemperature = 100f;

    // Below this a division by the temperature overflows f32 for ordinary logits; it is as good as greedy.
    private const float SmallestTemperature = 1e-4f;

    private const int MaxLogitBias = 1024;
    private const float MaxBias = 100f;

    /// <summary>0 is greedy.</summary>
    public float Temperature { get; init; } = 1f;

    /// <summary>0 for all.</summary>
    public int TopK { get; init; }

    public float TopP { get; init; } = 1f;

    public float MinP { get; init; }

    public float TypicalP { get; init; } = 1f;

    public float RepetitionPenalty { get; init; } = 1f;

    public float PresencePenalty { get; init; }

    public float FrequencyPenalty { get; init; }

    public int NoRepeatNgramSize { get; init; }

    public ulong Seed { get; init; }

    /// <summary>Token ids and what is added to their logits.</summary>
    public KeyValuePair<int, float>[] LogitBias { get; init; } = [];

    public bool IsGreedy => Temperature < SmallestTemperature;

    /// <summary>Makes every choice: the request's, else the model's, else the default.</summary>
    /// <exception cref="InvalidRequestException">A value of the request is out of bounds.</exception>
    public static SamplingSettings Resolve(SamplingParameters request, SamplingParameters model, int vocabularySize)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(model);
        KeyValuePair<int, float>[] bias = [.. request.LogitBias ?? model.LogitBias ?? new Dictionary<int, float>()];
        if (bias.Length > MaxLogitBias)
        {
            throw new InvalidRequestException("sampling.logit_bias", $"{bias.Length} entries exceed the limit of {MaxLogitBias}");
        }

        foreach ((int token, float value) in bias)
        {
            if (token < 0 || token >= vocabularySize)
            {
                throw new InvalidRequestException("sampling.logit_bias", $"token {token} is not in the vocabulary of {vocabularySize}");
            }

            if (!(Math.Abs(value) <= MaxBias))
            {
                throw new InvalidRequestException("sampling.logit_bias", $"{value} for token {token} is not in [-{MaxBias}, {MaxBias}]");
            }
        }

        int topK = request.TopK ?? model.TopK ?? 0;
        int ngram = request.NoRepeatNgramSize ?? model.NoRepeatNgramSize ?? 0;
        if (topK < 0)
        {
            throw new InvalidRequestException("sampling.top_k", $"{topK} is below 0 (0 keeps all)");
        }

        if (ngram < 0)
        {
            throw new InvalidRequestException("sampling.no_repeat_ngram_size", $"{ngram} is below 0 (0 is no rule)");
        }

        return new SamplingSettings
        {
            Temperature = Check("temperature", request.Temperature ?? model.Temperature ?? 1f, 0f, MaxTemperature),
            TopK = topK,
            TopP = Check("top_p", request.TopP ?? model.TopP ?? 1f, 0f, 1f, isMinimumExcluded: true),
            MinP = Check("min_p", request.MinP ?? model.MinP ?? 0f, 0f, 1f),
            TypicalP = Check("typical_p", request.TypicalP ?? model.TypicalP ?? 1f, 0f, 1f, isMinimumExcluded: true),
            RepetitionPenalty = Check("repetition_penalty", request.RepetitionPenalty ?? model.RepetitionPenalty ?? 1f, 0f, 100f, isMinimumExcluded: true),
            PresencePenalty = Check("presence_penalty", request.PresencePenalty ?? model.PresencePenalty ?? 0f, -2f, 2f),
            FrequencyPenalty = Check("frequency_penalty", request.FrequencyPenalty ?? model.FrequencyPenalty ?? 0f, -2f, 2f),
            NoRepeatNgramSize = ngram,
            Seed = request.Seed ?? model.Seed ?? (ulong)Random.Shared.NextInt64(),
            LogitBias = bias,
        };
    }

    private static float Check(string name, float value, float minimum, float maximum, bool isMinimumExcluded = false)
    {
        bool isInside = value <= maximum && (isMinimumExcluded ? value > minimum : value >= minimum);
        if (!isInside)
        {
            string interval = $"{(isMinimumExcluded ? "(" : "[")}{minimum}, {maximum}]";
            throw new InvalidRequestException($"sampling.{name}", $"{value} is not in {interval}");
        }

        return value;
    }
}
