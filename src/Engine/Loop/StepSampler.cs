using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Sampling;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Engine.Streaming;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Sampling;

namespace InferenceServer.Engine.Loop;

/// <summary>
/// Draws the tokens of a step: by the backend, where it can, so that logits stay where they are; here where it cannot, or where a request wants
/// what backends do not do. A warm run allocates nothing.
/// </summary>
internal sealed class StepSampler
{
    private readonly IComputeBackend _backend;
    private readonly ISamplingBackend? _drawer;
    private readonly SampledToken[] _drawn;
    private readonly Sampler _sampler;
    private readonly int[] _tokens;
    private readonly SampleStatus[] _statuses;
    private float[] _logits = [];
    private SamplingBatch? _batch;
    private int _leftOut;

    public StepSampler(IComputeBackend backend, int vocabularySize, int maxSequences)
    {
        _backend = backend;
        _drawer = backend as ISamplingBackend;
        _drawn = new SampledToken[maxSequences];
        _sampler = new Sampler(vocabularySize);
        _tokens = new int[maxSequences];
        _statuses = new SampleStatus[maxSequences];
    }

    /// <summary>By planned sequence: the token drawn, -1 where there is none.</summary>
    public ReadOnlySpan<int> Tokens => _tokens;

    /// <summary>By planned sequence; meaningful where it is sampled.</summary>
    public ReadOnlySpan<SampleStatus> Statuses => _statuses;

    /// <summary>Says how the backend is to draw, before the step begins.</summary>
    /// <param name="plan">The step.</param>
    /// <param name="batch">The step's own; stays empty when the backend draws nothing.</param>
    public void Prepare(StepPlan plan, SamplingBatch batch)
    {
        batch.Clear();
        _batch = null;
        _leftOut = 0;
        if (_drawer is null)
        {
            return;
        }

        foreach (ref readonly PlannedSequence item in plan.Sequences)
        {
            if (item.IsSampled && !TryAdd(batch, (Generation)item.Sequence))
            {
                batch.AddLeftOut();
                _leftOut++;
            }
        }

        if (_leftOut == batch.Rows.Length)
        {
            batch.Clear();
            return;
        }

        _batch = batch;
    }

    /// <summary>Draws for every sampled sequence of a plan, and waits for the step.</summary>
    /// <param name="plan">The step, prepared.</param>
    /// <param name="logits">A row for each sampled sequence, in their order.</param>
    public void Run(StepPlan plan, TensorView logits)
    {
        Array.Fill(_tokens, -1, 0, plan.Sequences.Length);
        if (_batch is not { } batch)
        {
            DrawHere(plan, logits);
            return;
        }

        _drawer!.Sample(logits, batch, _drawn.AsSpan(0, logits.Rows));
        Take(plan, batch);
        if (_leftOut > 0)
        {
            DrawLeftOut(plan, batch, logits);
        }
    }

    private static bool TryAdd(SamplingBatch batch, Generation generation)
    {
        SamplingSettings settings = generation.Sampling;
        bool isTypical = settings.TypicalP < 1f && !settings.IsGreedy;
        if (isTypical || settings.NoRepeatNgramSize > 0 || generation.Logprobs is { BestCount: > 0 })
        {
            return false;
        }

        bool looksAtPrompt = settings.RepetitionPenalty != 1f;
        bool looksAtOutput = looksAtPrompt || settings.PresencePenalty != 0f || settings.FrequencyPenalty != 0f;
        ReadOnlySpan<int> tokens = generation.Tokens;
        SamplingRow row = new()
        {
            WantsLogprob = generation.Logprobs is not null,
            Temperature = settings.IsGreedy ? 0f : settings.Temperature,
            TopK = settings.TopK,
            TopP = settings.TopP,
            MinP = settings.MinP,
            RepetitionPenalty = settings.RepetitionPenalty,
            PresencePenalty = settings.PresencePenalty,
            FrequencyPenalty = settings.FrequencyPenalty,
            Seed = settings.Seed,
            Draw = generation.NewTokenCount,
        };
        batch.Add(
            row,
            looksAtPrompt ? tokens[..generation.PromptLength] : [],
            looksAtOutput ? tokens[generation.PromptLength..] : [],
            Banned(generation),
            settings.LogitBias);
        return true;
    }

    private void Take(StepPlan plan, SamplingBatch batch)
    {
        int row = 0;
        for (int i = 0; i < plan.Sequences.Length; i++)
        {
            if (!plan.Sequences[i].IsSampled)
            {
                continue;
            }

            if (batch.Rows[row].IsDrawn)
            {
                SampledToken drawn = _drawn[row];
                _tokens[i] = drawn.Token;
                _statuses[i] = drawn.Status;
                if (batch.Rows[row].WantsLogprob && drawn.Status == SampleStatus.Sampled)
                {
                    Generation generation = (Generation)plan.Sequences[i].Sequence;
                    generation.Logprobs!.At(generation.NewTokenCount)[0] = new TokenLogprob(drawn.Token, drawn.Logprob);
                }
            }

            row++;
        }
    }

    // All rows by one read.
    private void DrawHere(StepPlan plan, TensorView logits)
    {
        Span<float> all = Read(logits);
        int row = 0;
        for (int i = 0; i < plan.Sequences.Length; i++)
        {
            if (plan.Sequences[i].IsSampled)
            {
                Draw(plan, i, all.Slice(row++ * logits.Columns, logits.Columns));
            }
        }
    }

    private void DrawLeftOut(StepPlan plan, SamplingBatch batch, TensorView logits)
    {
        int row = 0;
        for (int i = 0; i < plan.Sequences.Length; i++)
        {
            if (!plan.Sequences[i].IsSampled)
            {
                continue;
            }

            if (!batch.Rows[row].IsDrawn)
            {
                Draw(plan, i, Read(logits.SliceRows(row, 1)));
            }

            row++;
        }
    }

    private Span<float> Read(TensorView logits)
    {
        int count = logits.Rows * logits.Columns;
        if (_logits.Length < count)
        {
            // Grows to the widest step seen; the vocabulary times all sequences may be much more than is ever used.
            _logits = new float[count];
        }

        _backend.Read(logits, _logits.AsSpan(0, count));
        return _logits.AsSpan(0, count);
    }

    private void Draw(StepPlan plan, int index, Span<float> logits)
    {
        Generation generation = (Generation)plan.Sequences[index].Sequence;
        Span<TokenLogprob> logprobs = generation.Logprobs is null ? [] : generation.Logprobs.At(generation.NewTokenCount);
        _statuses[index] = _sampler.Sample(
            generation.Sampling, generation.Tokens, generation.PromptLength, Banned(generation), logits, logprobs, out _tokens[index]);
    }

    private static ReadOnlySpan<int> Banned(Generation generation) =>
        generation.NewTokenCount + 1 < generation.MinNewTokens ? generation.EndTokens : [];
}
