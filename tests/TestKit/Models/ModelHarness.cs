using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.TestKit.Models;

/// <summary>Runs a model step by step without an engine: logits of whole prompts, greedy continuations, in any batch and chunking.</summary>
public sealed class ModelHarness : IDisposable
{
    private const int BlockSize = 8;
    private const int MaxSequences = 64;

    private readonly IComputeBackend _backend;
    private readonly TransformerModel _model;
    private readonly KvCache _cache;
    private readonly StepInputs _step;
    private readonly int _blocksEach;

    public ModelHarness(TransformerModel model, IComputeBackend backend, int maxLength = 128)
    {
        _model = model;
        _backend = backend;
        _blocksEach = (maxLength + BlockSize - 1) / BlockSize;
        _cache = backend.CreateKvCache(model.KvShape(_blocksEach * MaxSequences, BlockSize));
        _step = new StepInputs(model.MaxBatchTokens, MaxSequences);
    }

    /// <summary>Logits of every position of every sequence, computed in one batch; <c>[sequence][position * V + token]</c>.</summary>
    /// <param name="batch">The sequences.</param>
    /// <param name="chunk">Most tokens of each sequence in one step; 0 for whole prompts.</param>
    public float[][] Logits(IReadOnlyList<HarnessSequence> batch, int chunk = 0)
    {
        int vocabulary = _model.Config.VocabularySize;
        float[][] logits = [.. batch.Select(sequence => new float[sequence.Tokens.Length * vocabulary])];
        int[] done = new int[batch.Count];
        while (batch.Select((sequence, i) => done[i] < sequence.Tokens.Length).Any(more => more))
        {
            List<(int Sequence, int Position)> rows = [];
            _step.Clear();
            for (int i = 0; i < batch.Count; i++)
            {
                int left = batch[i].Tokens.Length - done[i];
                int count = chunk == 0 ? left : Math.Min(chunk, left);
                if (count == 0)
                {
                    continue;
                }

                Add(i, batch[i], batch[i].Tokens.AsSpan(done[i], count), done[i], count);
                rows.AddRange(Enumerable.Range(done[i], count).Select(position => (i, position)));
                done[i] += count;
            }

            float[] step = Run(rows.Count);
            for (int row = 0; row < rows.Count; row++)
            {
                Array.Copy(step, row * vocabulary, logits[rows[row].Sequence], rows[row].Position * vocabulary, vocabulary);
            }
        }

        return logits;
    }

    /// <summary>Greedy continuations of all sequences, decoded together with the KV cache; ties go to the lowest id.</summary>
    public int[][] Greedy(IReadOnlyList<HarnessSequence> batch, int count)
    {
        int[][] output = [.. batch.Select(_ => new int[count])];
        int vocabulary = _model.Config.VocabularySize;
        for (int n = 0; n < count; n++)
        {
            _step.Clear();
            for (int i = 0; i < batch.Count; i++)
            {
                int[] tokens = n == 0 ? batch[i].Tokens : [output[i][n - 1]];
                int first = n == 0 ? 0 : batch[i].Tokens.Length + n - 1;
                Add(i, batch[i], tokens, first, 1);
            }

            float[] logits = Run(batch.Count);
            for (int i = 0; i < batch.Count; i++)
            {
                ReadOnlySpan<float> row = logits.AsSpan(i * vocabulary, vocabulary);
                output[i][n] = System.Numerics.Tensors.TensorPrimitives.IndexOfMax(row);
            }
        }

        return output;
    }

    public void Dispose() => _cache.Dispose();

    private void Add(int index, HarnessSequence sequence, ReadOnlySpan<int> tokens, int firstPosition, int sampled)
    {
        int[] blocks = [.. Enumerable.Range(0, _blocksEach).Select(i => (i * MaxSequences) + index)];
        int firstRow = _step.AddSequence(tokens, firstPosition, blocks);
        int firstSampled = _step.SampledRows.Length;
        for (int i = tokens.Length - sampled; i < tokens.Length; i++)
        {
            _step.AddSampledRow(firstRow + i);
        }

        AddGroup(_step.Lora, firstRow, tokens.Length, sequence.Adapters);
        AddGroup(_step.SampledLora, firstSampled, sampled, sequence.Adapters);
        AddGroup(_step.Restore, firstRow, tokens.Length, sequence.Restore);
        AddGroup(_step.SampledRestore, firstSampled, sampled, sequence.Restore);
    }

    private static void AddGroup(LoraBatch batch, int firstRow, int rowCount, IReadOnlyList<LoraEntry> entries)
    {
        if (entries.Count == 0)
        {
            return;
        }

        batch.BeginGroup(firstRow, rowCount);
        foreach (LoraEntry entry in entries)
        {
            batch.AddEntry(entry.Adapter, entry.Weight);
        }
    }

    private float[] Run(int rows)
    {
        TensorView view = _model.Forward(_step, _cache);
        float[] logits = new float[rows * view.Columns];
        _backend.Read(view, logits);
        return logits;
    }
}
