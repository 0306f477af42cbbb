using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Sampling;
using InferenceServer.Tensors.Sampling;

namespace InferenceServer.TestKit.Sampling;

/// <summary>What <see cref="Tensors.ISamplingBackend.Sample"/> is to draw, by the engine's own sampler. A warm call allocates nothing.</summary>
public sealed class HostSampling
{
    private readonly Sampler _sampler;
    private readonly float[] _logits;
    private readonly TokenLogprob[] _logprobs = new TokenLogprob[1];
    private int[] _tokens = [];

    public HostSampling(int vocabularySize)
    {
        _sampler = new Sampler(vocabularySize);
        _logits = new float[vocabularySize];
    }

    /// <summary>The settings of a row as a request has them.</summary>
    public static SamplingSettings SettingsOf(SamplingBatch batch, in SamplingRow row) => new()
    {
        Temperature = row.Temperature,
        TopK = row.TopK,
        TopP = row.TopP,
        MinP = row.MinP,
        RepetitionPenalty = row.RepetitionPenalty,
        PresencePenalty = row.PresencePenalty,
        FrequencyPenalty = row.FrequencyPenalty,
        Seed = row.Seed,
        LogitBias = batch.Biases.Slice(row.FirstBias, row.BiasCount).ToArray(),
    };

    /// <summary>Draws each row that the batch does not leave out.</summary>
    /// <param name="logits">All rows.</param>
    /// <param name="batch">How.</param>
    /// <param name="settings">By row, as <see cref="SettingsOf"/> makes them.</param>
    /// <param name="tokens">Receives one for each row.</param>
    public void Sample(ReadOnlySpan<float> logits, SamplingBatch batch, ReadOnlySpan<SamplingSettings?> settings, Span<SampledToken> tokens)
    {
        for (int i = 0; i < batch.Rows.Length; i++)
        {
            SamplingRow row = batch.Rows[i];
            if (!row.IsDrawn)
            {
                continue;
            }

            logits.Slice(i * _logits.Length, _logits.Length).CopyTo(_logits);
            ReadOnlySpan<int> lists = batch.Tokens[row.FirstToken..];
            Span<TokenLogprob> logprobs = row.WantsLogprob ? _logprobs : [];
            SampleStatus status = _sampler.Sample(
                settings[i]!,
                TokensOf(lists, row),
                row.PromptCount,
                lists.Slice(row.PromptCount + row.OutputCount, row.BannedCount),
                _logits,
                logprobs,
                out int token);
            tokens[i] = new SampledToken(token, status, status == SampleStatus.Sampled && row.WantsLogprob ? _logprobs[0].Logprob : 0);
        }
    }

    // The sampler counts draws by the output's length: where no penalty looks at the output, any tokens will do.
    private ReadOnlySpan<int> TokensOf(ReadOnlySpan<int> lists, in SamplingRow row)
    {
        int count = row.PromptCount + row.OutputCount;
        if (row.OutputCount == row.Draw)
        {
            return lists[..count];
        }

        if (_tokens.Length < row.PromptCount + row.Draw)
        {
            _tokens = new int[Math.Max(1024, 2 * (row.PromptCount + row.Draw))];
        }

        return _tokens.AsSpan(0, row.PromptCount + (int)row.Draw);
    }
}
