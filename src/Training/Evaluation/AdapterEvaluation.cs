using System.Runtime.InteropServices;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Evaluation;

/// <summary>
/// Loss and perplexity of a data set under the base or any adapter, through the forward that serves. Memory does not depend on the samples'
/// lengths but for their keys and values. The base is shared and may serve meanwhile through another backend. One thread at a time.
/// </summary>
public sealed class AdapterEvaluation : IDisposable
{
    private const int BlockSize = 16;

    private readonly ITrainingBackend _operations;
    private readonly IComputeBackend _backend;
    private readonly TransformerModel _model;
    private readonly StepInputs _step;
    private readonly DeviceBuffer _gradients;
    private readonly List<int> _labels = [];
    private double _sum;
    private long _labelCount;

    /// <param name="model">The base; what is merged into it does not count here.</param>
    /// <param name="backend">A backend of the model's kind, for this evaluation alone while it runs.</param>
    /// <param name="operations">The backend's training half.</param>
    /// <param name="maxBatchTokens">Most rows of one step; each takes activations and two rows of the vocabulary's size.</param>
    public AdapterEvaluation(TransformerModel model, IComputeBackend backend, ITrainingBackend operations, int maxBatchTokens = 256)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxBatchTokens, 1);
        _backend = backend;
        _operations = operations;
        _model = model.CreateView(backend, maxBatchTokens, maxBatchTokens);
        _step = new StepInputs(maxBatchTokens, maxBatchTokens);
        _gradients = backend.Allocate((long)maxBatchTokens * model.Config.VocabularySize * sizeof(float), "unused gradients");
    }

    /// <summary>The mean over all labelled tokens of -ln of their probability, summed in f64.</summary>
    /// <param name="samples">The samples.</param>
    /// <param name="adapter">An adapter of this model; null for the base. It stays the caller's.</param>
    /// <param name="cancellation">Stops between two steps.</param>
    /// <exception cref="ArgumentException">Nothing is labelled, or a sample is too long for the context or has a token that the model does not.</exception>
    /// <exception cref="TrainingFailedException">The loss is not finite.</exception>
    public EvaluationResult Measure(
        IReadOnlyList<SupervisedSequence> samples, DeviceAdapter? adapter = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(samples);
        int longest = Check(samples);
        int blocks = Blocks(Math.Max(longest, 2 * _step.MaxTokens));
        using KvCache cache = _backend.CreateKvCache(_model.KvShape(blocks, BlockSize));
        (_sum, _labelCount) = (0, 0);
        Clear();
        int nextBlock = 0;
        foreach (SupervisedSequence sample in samples)
        {
            int length = sample.Tokens.Length;
            if (_step.TokenCount + length > _step.MaxTokens || nextBlock + Blocks(length) > blocks)
            {
                Flush(adapter, cache, cancellation);
                nextBlock = 0;
            }

            int[] own = [.. Enumerable.Range(nextBlock, Blocks(length))];
            nextBlock += own.Length;
            for (int first = 0; first < length; first += _step.MaxTokens)
            {
                // Only a sample that is longer than a step comes here twice; it has the cache for itself.
                if (first > 0)
                {
                    Flush(adapter, cache, cancellation);
                }

                Add(sample, first, Math.Min(_step.MaxTokens, length - first), own);
            }
        }

        Flush(adapter, cache, cancellation);
        double loss = _sum / _labelCount;
        return double.IsFinite(loss) ? new EvaluationResult(loss, _labelCount) : throw new TrainingFailedException($"the loss is {loss}");
    }

    public void Dispose()
    {
        Clear();
        _gradients.Dispose();
        _model.Dispose();
    }

    private static int Blocks(int tokens) => (tokens + BlockSize - 1) / BlockSize;

    private int Check(IReadOnlyList<SupervisedSequence> samples)
    {
        int longest = 0;
        bool isLabelled = false;
        for (int i = 0; i < samples.Count; i++)
        {
            (int[] tokens, int[] labels) = samples[i];
            if (tokens.Length > _model.MaxModelLength)
            {
                throw new ArgumentException($"sample {i} of {tokens.Length} tokens exceeds the context of {_model.MaxModelLength}");
            }

            int vocabulary = _model.Config.VocabularySize;
            int outside = Array.FindIndex(tokens, token => token < 0 || token >= vocabulary);
            if (outside >= 0)
            {
                throw new ArgumentException($"token {tokens[outside]} of sample {i} is outside the model's vocabulary of {vocabulary}");
            }

            longest = Math.Max(longest, tokens.Length);
            isLabelled |= labels.AsSpan(Math.Min(1, labels.Length)).ContainsAnyExcept(SupervisedSequence.Ignored);
        }

        return isLabelled ? longest : throw new ArgumentException($"no token of the {samples.Count} samples is labelled");
    }

    private void Add(SupervisedSequence sample, int first, int count, int[] blocks)
    {
        int firstRow = _step.AddSequence(sample.Tokens.AsSpan(first, count), first, blocks);
        for (int i = first; i < first + count; i++)
        {
            // A token is predicted by the row before it.
            int label = i + 1 < sample.Labels.Length ? sample.Labels[i + 1] : SupervisedSequence.Ignored;
            if (label != SupervisedSequence.Ignored)
            {
                _step.AddSampledRow(firstRow + i - first);
                _labels.Add(label);
            }
        }
    }

    private void Flush(DeviceAdapter? adapter, KvCache cache, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (_step.TokenCount == 0)
        {
            return;
        }

        if (adapter is not null)
        {
            AddAdapter(_step.Lora, _step.TokenCount, adapter);
            AddAdapter(_step.SampledLora, _labels.Count, adapter);
        }

        TensorView logits = _model.Forward(_step, cache);
        if (_labels.Count > 0)
        {
            TensorView gradients = new(_gradients, logits.Rows, logits.Columns);
            _sum += _operations.CrossEntropy(logits, CollectionsMarshal.AsSpan(_labels), 1f, gradients);
            _labelCount += _labels.Count;
        }

        Clear();
    }

    private void Clear()
    {
        _step.Clear();
        _labels.Clear();
    }

    private static void AddAdapter(LoraBatch batch, int rows, DeviceAdapter adapter)
    {
        if (rows > 0)
        {
            batch.BeginGroup(0, rows);
            batch.AddEntry(adapter, 1f);
        }
    }
}
