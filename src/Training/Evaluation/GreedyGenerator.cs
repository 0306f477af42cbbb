using System.Numerics.Tensors;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Sampling;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Training.Evaluation;

/// <summary>
/// Answers many prompts together, always with the likeliest token, through the forward that serves: token for token what the server
/// gives at temperature 0 without penalties. The base is shared and may serve meanwhile through another backend. One thread at a time.
/// </summary>
public sealed class GreedyGenerator : IDisposable
{
    private const int BlockSize = 16;

    private static readonly SamplingRow s_likeliest = new() { TopP = 1f, RepetitionPenalty = 1f };

    private readonly IComputeBackend _backend;
    private readonly ISamplingBackend? _drawer;
    private readonly TransformerModel _model;
    private readonly GreedyOptions _options;
    private readonly StepInputs _step;
    private readonly HashSet<int> _endTokens;
    private readonly SampledToken[] _drawn;
    private readonly float[] _logits;

    /// <param name="model">The base; what is merged into it does not count here.</param>
    /// <param name="backend">A backend of the model's kind, for this generator alone while it runs.</param>
    /// <param name="endTokens">Tokens that end an answer.</param>
    /// <param name="options">Sizes; null for the defaults.</param>
    /// <exception cref="ArgumentException">The sizes do not fit together.</exception>
    public GreedyGenerator(TransformerModel model, IComputeBackend backend, IEnumerable<int> endTokens, GreedyOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
        _drawer = backend as ISamplingBackend;
        _options = options ?? new GreedyOptions();
        _endTokens = [.. endTokens];
        if (_options.MaxSequences < 1 || _options.MaxSequences > _options.MaxBatchTokens)
        {
            throw new ArgumentException($"MaxSequences {_options.MaxSequences} is not from 1 to MaxBatchTokens {_options.MaxBatchTokens}");
        }

        _model = model.CreateView(backend, _options.MaxBatchTokens, _options.MaxSequences);
        _step = new StepInputs(_options.MaxBatchTokens, _options.MaxSequences);
        _drawn = new SampledToken[_options.MaxSequences];
        _logits = _drawer is null ? new float[_options.MaxSequences * model.Config.VocabularySize] : [];
    }

    /// <summary>Tokens that end an answer.</summary>
    public IReadOnlySet<int> EndTokens => _endTokens;

    /// <summary>Answers every prompt.</summary>
    /// <param name="prompts">Their tokens.</param>
    /// <param name="maxNewTokens">Most tokens of an answer; the model's context may allow fewer.</param>
    /// <param name="adapter">An adapter of this model, for all prompts; null for the base. It stays the caller's.</param>
    /// <param name="cancellation">Stops between two steps.</param>
    /// <returns>The answers in the order of the prompts, each with its end token when it came to one.</returns>
    /// <exception cref="ArgumentException">A prompt is empty, too long for the context, or has a token that the model does not.</exception>
    /// <exception cref="TrainingFailedException">A logit is not finite.</exception>
    public int[][] Generate(
        IReadOnlyList<ReadOnlyMemory<int>> prompts, int maxNewTokens, DeviceAdapter? adapter = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxNewTokens, 1);
        Answer[] answers = [.. prompts.Select((prompt, i) => Begin(prompt, i, maxNewTokens))];
        if (answers.Length == 0)
        {
            return [];
        }

        // An answer's last token is never computed, so it needs no place.
        int blocksEach = answers.Max(answer => answer.Tokens.Length - 2 + BlockSize) / BlockSize;
        int slots = Math.Clamp(_options.MaxCacheTokens / (blocksEach * BlockSize), 1, Math.Min(_options.MaxSequences, answers.Length));
        using KvCache cache = _backend.CreateKvCache(_model.KvShape(slots * blocksEach, BlockSize));
        Stack<int[]> free = new(Enumerable.Range(0, slots).Select(slot => Enumerable.Range(slot * blocksEach, blocksEach).ToArray()));
        List<Answer> running = [];
        int next = 0;
        while (next < answers.Length || running.Count > 0)
        {
            cancellation.ThrowIfCancellationRequested();
            while (next < answers.Length && free.TryPop(out int[]? blocks))
            {
                answers[next].Blocks = blocks;
                running.Add(answers[next++]);
            }

            Run(running, adapter, cache);
            foreach (Answer answer in running.Where(answer => answer.IsDone))
            {
                free.Push(answer.Blocks);
            }

            running.RemoveAll(answer => answer.IsDone);
        }

        return [.. answers.Select(answer => answer.Tokens[answer.PromptLength..answer.Count])];
    }

    public void Dispose()
    {
        _step.Clear();
        _model.Dispose();
    }

    private Answer Begin(ReadOnlyMemory<int> prompt, int index, int maxNewTokens)
    {
        int room = _model.MaxModelLength - prompt.Length;
        if (prompt.IsEmpty || room < 1)
        {
            throw new ArgumentException(
                prompt.IsEmpty
                    ? $"prompt {index} is empty"
                    : $"prompt {index} of {prompt.Length} tokens leaves no room in the context of {_model.MaxModelLength}");
        }

        int vocabulary = _model.Config.VocabularySize;
        foreach (int token in prompt.Span)
        {
            if (token < 0 || token >= vocabulary)
            {
                throw new ArgumentException($"token {token} of prompt {index} is outside the model's vocabulary of {vocabulary}");
            }
        }

        return new Answer(prompt.Span, index, Math.Min(maxNewTokens, room));
    }

    private void Run(List<Answer> running, DeviceAdapter? adapter, KvCache cache)
    {
        _step.Clear();
        List<Answer> sampled = [];
        for (int i = 0; i < running.Count; i++)
        {
            // Everyone behind gets a row at least, so that no answer waits for another's long prompt.
            Answer answer = running[i];
            int behind = running.Count - 1 - i;
            int count = Math.Min(answer.Count - answer.Computed, _options.MaxBatchTokens - _step.TokenCount - behind);
            int row = _step.AddSequence(answer.Tokens.AsSpan(answer.Computed, count), answer.Computed, answer.Blocks);
            answer.Computed += count;
            if (answer.Computed == answer.Count)
            {
                _step.AddSampledRow(row + count - 1);
                sampled.Add(answer);
            }
        }

        if (adapter is not null)
        {
            AddAdapter(_step.Lora, _step.TokenCount, adapter);
            AddAdapter(_step.SampledLora, sampled.Count, adapter);
        }

        for (int i = 0; i < sampled.Count && _drawer is not null; i++)
        {
            _step.Sampling.Add(s_likeliest);
        }

        Draw(_model.Forward(_step, cache), sampled);
    }

    /// <summary>Waits for the step and adds the likeliest token of each row, of equal ones the first, to its answer.</summary>
    private void Draw(TensorView logits, List<Answer> sampled)
    {
        Span<SampledToken> drawn = _drawn.AsSpan(0, sampled.Count);
        if (_drawer is not null)
        {
            _drawer.Sample(logits, _step.Sampling, drawn);
        }
        else
        {
            DrawHere(logits, drawn);
        }

        for (int i = 0; i < sampled.Count; i++)
        {
            if (drawn[i].Status != SampleStatus.Sampled)
            {
                throw new TrainingFailedException($"a logit of the answer to prompt {sampled[i].Index} is not finite");
            }

            sampled[i].Append(drawn[i].Token, _endTokens.Contains(drawn[i].Token));
        }
    }

    private void DrawHere(TensorView logits, Span<SampledToken> drawn)
    {
        _backend.Read(logits, _logits.AsSpan(0, logits.Rows * logits.Columns));
        for (int i = 0; i < drawn.Length; i++)
        {
            // IndexOfMax finds a NaN before anything else.
            ReadOnlySpan<float> row = _logits.AsSpan(i * logits.Columns, logits.Columns);
            int best = TensorPrimitives.IndexOfMax(row);
            drawn[i] = new SampledToken(best, float.IsFinite(row[best]) ? SampleStatus.Sampled : SampleStatus.NotFinite, 0f);
        }
    }

    private static void AddAdapter(LoraBatch batch, int rows, DeviceAdapter adapter)
    {
        if (rows > 0)
        {
            batch.BeginGroup(0, rows);
            batch.AddEntry(adapter, 1f);
        }
    }

    private sealed class Answer
    {
        private bool _isEnded;

        public Answer(ReadOnlySpan<int> prompt, int index, int maxNewTokens)
        {
            Tokens = new int[prompt.Length + maxNewTokens];
            prompt.CopyTo(Tokens);
            Index = index;
            PromptLength = prompt.Length;
            Count = prompt.Length;
        }

        public int[] Tokens { get; }

        public int Index { get; }

        public int PromptLength { get; }

        public int Count { get; private set; }

        public int Computed { get; set; }

        public int[] Blocks { get; set; } = [];

        public bool IsDone => _isEnded || Count == Tokens.Length;

        public void Append(int token, bool isEnd)
        {
            Tokens[Count++] = token;
            _isEnded = isEnd;
        }
    }
}
