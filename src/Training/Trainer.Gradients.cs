using System.Runtime.InteropServices;
using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training;

/// <content>The forward of one batch, its loss, and the way back.</content>
public sealed partial class Trainer
{
    private const int BlockSize = 16;

    /// <summary>
    /// Labelled rows whose logits exist at a time: 32 MB with a vocabulary of 32 000, their gradients in the same memory. Fewer rows would
    /// make the laying out of the head's weight count.
    /// </summary>
    private const int HeadRows = 256;

    private readonly List<int> _labelledRows = [];
    private readonly List<int> _labels = [];
    private readonly List<(TensorView Input, ulong Seed)> _layerStarts = [];

    /// <summary>Mean over a batch's labelled tokens of -ln of their probability, as it is now; nothing changes.</summary>
    public double EvaluateTokens(SupervisedBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Fill(batch);
        RunForward();
        double loss = 0;
        for (int first = 0; first < _labels.Count; first += _model.MaxSampledRows)
        {
            (TensorView logits, TapeMark mark) = FindLogits(first);
            loss += _operations.CrossEntropy(logits, LabelsFrom(first, logits.Rows), 1f, logits);
            _tape.Release(mark);
        }

        return loss / batch.LabelCount;
    }

    /// <summary>Logits of every position of one sequence, <c>[tokens, V]</c> row-major.</summary>
    public float[] Logits(int[] tokens)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        Fill([new SupervisedSequence(tokens, tokens)], everyRow: true);
        RunForward();
        int columns = _model.Config.VocabularySize;
        float[] all = new float[tokens.Length * columns];
        for (int first = 0; first < tokens.Length; first += _model.MaxSampledRows)
        {
            (TensorView logits, TapeMark mark) = FindLogits(first);
            _backend.Read(logits, all.AsSpan(first * columns, logits.Rows * columns));
            _tape.Release(mark);
        }

        return all;
    }

    private ReadOnlySpan<int> LabelsFrom(int first, int count) => CollectionsMarshal.AsSpan(_labels).Slice(first, count);

    private double AddGradients(SupervisedBatch batch, int microBatches)
    {
        Fill(batch);

        // Each forward has its own random choices, the same in every run with the same seed.
        _tape.Seed = ((ulong)(uint)_options.Seed << 32) + (++_forwardCount << 52);
        _tape.IsTraining = true;
        _tape.IsRecording = true;
        TapeMark start = _tape.Mark;
        TensorView hidden = _model.Embed(_step);
        RunLayers(hidden);
        _tape.ClearGradients();
        double loss = AddHeadGradients(1f / ((float)batch.LabelCount * microBatches));
        RepeatLayersBackward(hidden);
        _tape.Backward(start);
        return loss / batch.LabelCount / microBatches;
    }

    /// <summary>All layers; with gradient checkpointing nothing is kept of them but their inputs.</summary>
    private void RunLayers(TensorView hidden)
    {
        _tape.IsRecording = !_options.GradientCheckpointing;
        for (int layer = 0; layer < _model.Config.LayerCount; layer++)
        {
            if (!_options.GradientCheckpointing)
            {
                _model.RunLayer(layer, _step, _cache);
                continue;
            }

            TensorView input = _tape.Take(hidden.Rows, hidden.Columns);
            _operations.Copy(hidden, input);
            _layerStarts.Add((input, _tape.Seed));
            TapeMark mark = _tape.Mark;
            _model.RunLayer(layer, _step, _cache);
            _tape.Release(mark);
        }

        _tape.IsRecording = true;
    }

    /// <summary>Gradient checkpointing: each layer again from its input, with the same random choices, and at once the way back through it.</summary>
    private void RepeatLayersBackward(TensorView hidden)
    {
        for (int layer = _layerStarts.Count - 1; layer >= 0; layer--)
        {
            (TensorView input, _tape.Seed) = _layerStarts[layer];
            _operations.Copy(input, hidden);
            _tape.Changed(hidden);
            TapeMark mark = _tape.Mark;
            _model.RunLayer(layer, _step, _cache);
            _tape.Backward(mark);
        }
    }

    /// <summary>The loss and the way back through the output head, some rows at a time: all logits at once would be the largest memory of the step.</summary>
    private double AddHeadGradients(float factor)
    {
        double loss = 0;
        for (int first = 0; first < _labels.Count; first += _model.MaxSampledRows)
        {
            (TensorView logits, TapeMark mark) = FindLogits(first);
            _tape.ShareMemory(logits);
            loss += _operations.CrossEntropy(logits, LabelsFrom(first, logits.Rows), factor, logits);
            _tape.Backward(mark);
        }

        return loss;
    }

    /// <summary>Logits of the labelled rows from one on, as many as there is room for.</summary>
    private (TensorView Logits, TapeMark Before) FindLogits(int first)
    {
        int count = Math.Min(_model.MaxSampledRows, _labelledRows.Count - first);
        _step.ClearSampled();
        foreach (int row in CollectionsMarshal.AsSpan(_labelledRows).Slice(first, count))
        {
            _step.AddSampledRow(row);
        }

        if (_adapter is not null)
        {
            _step.SampledLora.BeginGroup(0, count);
            _step.SampledLora.AddEntry(_adapter, 1f);
        }

        _recording.BeginStep(_step);
        TapeMark before = _tape.Mark;
        return (_model.Head(_step), before);
    }

    /// <summary>A forward that nothing follows.</summary>
    private void RunForward()
    {
        _tape.IsTraining = false;
        _tape.IsRecording = false;
        _model.Embed(_step);
        for (int layer = 0; layer < _model.Config.LayerCount; layer++)
        {
            TapeMark mark = _tape.Mark;
            _model.RunLayer(layer, _step, _cache);
            _tape.Release(mark);
        }
    }

    private void Fill(SupervisedBatch batch)
    {
        if (batch.TokenCount > _options.MaxBatchTokens || batch.Sequences.Count > _options.MaxSequences)
        {
            throw new ArgumentException(
                $"{batch.TokenCount} tokens in {batch.Sequences.Count} sequences exceed MaxBatchTokens {_options.MaxBatchTokens} "
                + $"or MaxSequences {_options.MaxSequences}");
        }

        Fill(batch.Sequences, everyRow: false);
    }

    /// <summary>Lays the sequences out as one step; the rows whose next token is labelled are those whose logits are wanted.</summary>
    private void Fill(IReadOnlyList<SupervisedSequence> sequences, bool everyRow)
    {
        // A forward before this one may have been refused half-way; nothing of it may reach this one's gradients.
        _tape.Reset();
        _layerStarts.Clear();
        _step.Clear();
        _labelledRows.Clear();
        _labels.Clear();
        int nextBlock = 0;
        foreach ((int[] tokens, int[] labels) in sequences)
        {
            int[] blocks = [.. Enumerable.Range(nextBlock, (tokens.Length + BlockSize - 1) / BlockSize)];
            nextBlock += blocks.Length;
            int firstRow = _step.AddSequence(tokens, 0, blocks);
            for (int i = 0; i < tokens.Length; i++)
            {
                int label = i + 1 < labels.Length ? labels[i + 1] : SupervisedSequence.Ignored;
                if (everyRow || label != SupervisedSequence.Ignored)
                {
                    _labelledRows.Add(firstRow + i);
                    _labels.Add(label);
                }
            }
        }

        if (_adapter is not null)
        {
            _step.Lora.BeginGroup(0, _step.TokenCount);
            _step.Lora.AddEntry(_adapter, 1f);
        }
    }
}
