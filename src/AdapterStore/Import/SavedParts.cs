using System.Buffers;
using System.Numerics.Tensors;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.AdapterStore.Import;

/// <summary>
/// What an adapter file holds beside the method's own tensors: modules_to_save, biases, trained token rows, copies of the base.
/// </summary>
internal sealed class SavedParts
{
    private readonly PeftConfig _config;
    private readonly AdapterTensors _tensors;
    private readonly ModelShape _model;

    public SavedParts(PeftConfig config, AdapterTensors tensors, ModelShape model)
    {
        _config = config;
        _tensors = tensors;
        _model = model;
    }

    /// <summary>Checks names and shapes and marks the tensors as accounted for; returns the host bytes of what is kept.</summary>
    public long Check(ModuleTensors tensors, bool isTargeted)
    {
        ModuleShape module = tensors.Module;
        long floats = 0;
        if (_config.IsSaved(module.Path))
        {
            floats += tensors.Require(TensorPart.Weight, "weight", WeightShape(module)).ElementCount;
            if (module.HasBias)
            {
                _ = tensors.Require(TensorPart.Bias, "bias", module.OutFeatures);
            }
        }
        else if (IsVocabularySized(module))
        {
            _ = tensors.Find(TensorPart.Weight, WeightShape(module));
            _ = isTargeted ? tensors.Find(TensorPart.BaseWeight, WeightShape(module)) : null;
        }

        floats += BiasOf(tensors, isTargeted)?.ElementCount ?? 0;
        if (TokenRowsOf(tensors, out int[] tokens) is { } rows)
        {
            floats += rows.ElementCount + tokens.Length;
        }

        return floats * sizeof(float);
    }

    /// <summary>Adds what is kept of a module to its run-time form.</summary>
    public LowRankDelta? Apply(ModuleTensors tensors, bool isTargeted, LowRankDelta? delta, CancellationToken cancellation)
    {
        ModuleShape module = tensors.Module;
        if (_config.IsSaved(module.Path))
        {
            SafetensorsEntry weight = tensors.Require(TensorPart.Weight, "weight", WeightShape(module));
            delta = (delta ?? new LowRankDelta()) with { Replacement = ReadWeight(weight, module) };
        }
        else if (IsVocabularySized(module))
        {
            CheckIsBase(tensors.FindAnyShape(TensorPart.Weight), module, cancellation);
            CheckIsBase(tensors.FindAnyShape(TensorPart.BaseWeight), module, cancellation);
        }

        if (BiasOf(tensors, isTargeted) is { } biasEntry)
        {
            float[] bias = _tensors.Read(biasEntry);
            TensorPrimitives.Subtract(bias, _model.ReadBias(module) ?? new float[bias.Length], bias);
            if (delta?.OutputBias is { } own)
            {
                TensorPrimitives.Add(bias, own, bias);
            }

            delta = (delta ?? new LowRankDelta()) with { OutputBias = bias };
        }

        if (TokenRowsOf(tensors, out int[] tokens) is { } rows)
        {
            delta = (delta ?? new LowRankDelta()) with { ReplacedRows = ReadRows(rows, tokens) };
        }

        return delta;
    }

    private bool IsVocabularySized(ModuleShape module) => module.Kind == ModuleKind.Embedding || module.Path == _model.OutputHeadPath;

    private static long[] WeightShape(ModuleShape module) => module.Kind switch
    {
        ModuleKind.Linear => [module.OutFeatures, module.InFeatures],
        ModuleKind.Conv1D or ModuleKind.Embedding => [module.InFeatures, module.OutFeatures],
        _ => [module.OutFeatures],
    };

    private SafetensorsEntry? BiasOf(ModuleTensors tensors, bool isTargeted)
    {
        ModuleShape module = tensors.Module;
        bool isSaved = _config.IsSaved(module.Path);
        if (!module.HasBias || !(isSaved || _config.Bias == "all" || (_config.Bias != "none" && isTargeted)))
        {
            return null;
        }

        // PEFT keeps a targeted layer's own bias under base_layer.
        return (isTargeted ? tensors.Find(TensorPart.BaseBias, module.OutFeatures) : null) ?? tensors.Find(TensorPart.Bias, module.OutFeatures);
    }

    private HostMatrix ReadWeight(SafetensorsEntry entry, ModuleShape module)
    {
        float[] values = _tensors.Read(entry);
        switch (module.Kind)
        {
            case ModuleKind.Norm:
                return new HostMatrix(1, module.OutFeatures, values);
            case ModuleKind.Embedding:
                return new HostMatrix(module.InFeatures, module.OutFeatures, values);
            case ModuleKind.Linear:
                return new HostMatrix(module.OutFeatures, module.InFeatures, values);
            default:
                float[] transposed = new float[values.Length];
                for (int i = 0; i < module.InFeatures; i++)
                {
                    for (int o = 0; o < module.OutFeatures; o++)
                    {
                        transposed[(o * module.InFeatures) + i] = values[(i * module.OutFeatures) + o];
                    }
                }

                return new HostMatrix(module.OutFeatures, module.InFeatures, transposed);
        }
    }

    // PEFT writes the untouched embedding and output head along when they are targeted or were resized. A copy that differs would
    // change the result and has no place in the run-time form.
    private void CheckIsBase(SafetensorsEntry? entry, ModuleShape module, CancellationToken cancellation)
    {
        if (entry is null)
        {
            return;
        }

        int columns = (int)entry.Shape[1];
        int rows = (int)entry.Shape[0];
        int chunkRows = Math.Clamp((1 << 16) / Math.Max(columns, 1), 1, Math.Max(rows, 1));
        float[] copy = ArrayPool<float>.Shared.Rent(chunkRows * columns);
        float[] original = ArrayPool<float>.Shared.Rent(chunkRows * columns);
        try
        {
            for (int first = 0; first < rows; first += chunkRows)
            {
                cancellation.ThrowIfCancellationRequested();
                int count = Math.Min(chunkRows, rows - first) * columns;
                _tensors.Read(entry, (long)first * columns, copy.AsSpan(0, count));
                _model.ReadRows(module, first, original.AsMemory(0, count));
                for (int i = 0; i < count; i++)
                {
                    // One may be rounded to bf16 (8 bits) or f16, the other not.
                    if (Math.Abs(copy[i] - original[i]) > (Math.Abs(original[i]) / 128) + 1e-6f)
                    {
                        throw new AdapterFormatException(
                            AdapterTensors.FileName,
                            entry.Name,
                            "the base model's own weight, or its module in modules_to_save",
                            "a changed base weight");
                    }
                }
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(copy);
            ArrayPool<float>.Shared.Return(original);
        }
    }

    private SafetensorsEntry? TokenRowsOf(ModuleTensors tensors, out int[] tokens)
    {
        ModuleShape module = tensors.Module;
        tokens = [];
        if (!IsVocabularySized(module) || _config.TokenIndicesOf(module) is not { } indices)
        {
            return null;
        }

        bool isEmbedding = module.Kind == ModuleKind.Embedding;
        int vocabulary = isEmbedding ? module.InFeatures : module.OutFeatures;
        int hidden = isEmbedding ? module.OutFeatures : module.InFeatures;
        foreach (int token in indices)
        {
            if (token >= vocabulary)
            {
                throw new AdapterFormatException(
                    ConfigFields.FileName, "trainable_token_indices", $"tokens below the vocabulary size {vocabulary}", $"{token}");
            }
        }

        tokens = indices;
        return tensors.Require(TensorPart.TokenRows, "token_adapter.trainable_tokens_delta", indices.Length, hidden);
    }

    private ReplacedRows ReadRows(SafetensorsEntry entry, int[] tokens)
    {
        float[] values = _tensors.Read(entry);
        int hidden = (int)entry.Shape[1];
        int[] order = [.. Enumerable.Range(0, tokens.Length).OrderBy(i => tokens[i])];
        float[] sorted = new float[values.Length];
        for (int i = 0; i < order.Length; i++)
        {
            values.AsSpan(order[i] * hidden, hidden).CopyTo(sorted.AsSpan(i * hidden));
        }

        return new ReplacedRows([.. order.Select(i => tokens[i])], new HostMatrix(tokens.Length, hidden, sorted));
    }
}
