using InferenceServer.Models.Checkpoints;
using InferenceServer.Models.Configuration;
using InferenceServer.Models.PackedWeights;
using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>Reads the weights of a checked <see cref="ModelPlan"/> onto the device.</summary>
internal sealed class ModelBuilder
{
    private readonly IComputeBackend _backend;
    private readonly ModelConfig _config;
    private readonly ModelPlan _plan;
    private readonly WeightFormat _format;
    private readonly WeightFormat _head;
    private readonly PackedSource? _packed;
    private readonly IProgress<LoadProgress>? _progress;
    private readonly Stack<IDisposable> _made = new();
    private long _loadedBytes;
    private int _loadedModules;

    public ModelBuilder(
        IComputeBackend backend, ModelConfig config, ModelPlan plan, ModelLoadOptions options, PackedSource? packed, IProgress<LoadProgress>? progress)
    {
        _backend = backend;
        _config = config;
        _plan = plan;
        _format = options.Weights;
        _head = options.HeadFormat;
        _packed = packed;
        _progress = progress;
    }

    /// <summary>Weights on the device and the bytes they take.</summary>
    public (ModelParts Parts, long ByteCount) Build()
    {
        try
        {
            WeightFormat whole = _format.Unquantized();
            WeightMatrix embedding = Matrix(
                _plan.Embedding.Shape.Path,
                _config.VocabularySize,
                _config.HiddenSize,
                _plan.IsTied ? _head : whole,
                _plan.Embedding.ReadRows,
                _plan.Embedding.Weight);
            WeightMatrix? positions = _plan.Positions is { } tensor
                ? Matrix(
                    "positions",
                    _config.MaxPositions,
                    _config.HiddenSize,
                    whole,
                    (row, target) => tensor.ReadRows(row, target, transposed: false),
                    tensor)
                : null;
            DecoderLayer[] layers = [.. _plan.Layers.Select(BuildLayer)];
            Norm finalNorm = BuildNorm(_plan.FinalNorm);

            // A tied head shares the embedding's matrix; folding an adapter into the head makes a copy, so the embedding stays.
            Linear head = _plan.IsTied
                ? new Linear([new LinearSlice(_plan.Head.Shape, 0)], embedding, null, ownsWeight: false)
                : BuildLinear([_plan.Head], _head);
            return (new ModelParts(embedding, positions, layers, finalNorm, head), _loadedBytes);
        }
        catch
        {
            while (_made.TryPop(out IDisposable? made))
            {
                made.Dispose();
            }

            throw;
        }
    }

    private DecoderLayer BuildLayer(LayerPlan plan, int layer) => new()
    {
        InputNorm = BuildNorm(plan.InputNorm),
        Qkv = BuildLinear(plan.Qkv, _format),
        QueryNorm = BuildHeadNorm(plan.QueryNorm),
        KeyNorm = BuildHeadNorm(plan.KeyNorm),
        Attention = new AttentionParameters(
            _config.HeadCount,
            _config.KvHeadCount,
            _config.HeadSize,
            _config.AttentionScale,
            _config.AttentionSoftCap,
            _config.Windows[layer]),
        Output = BuildLinear([plan.Output], _format),
        PostAttentionNorm = plan.PostAttentionNorm is null ? null : BuildNorm(plan.PostAttentionNorm),
        FeedForwardNorm = BuildNorm(plan.FeedForwardNorm),
        PostFeedForwardNorm = plan.PostFeedForwardNorm is null ? null : BuildNorm(plan.PostFeedForwardNorm),
        Up = BuildLinear(plan.Up, _format),
        Down = BuildLinear([plan.Down], _format),
    };

    private Linear BuildLinear(ModulePlan[] parts, WeightFormat format)
    {
        LinearSlice[] slices = new LinearSlice[parts.Length];
        int rows = 0;
        for (int i = 0; i < parts.Length; i++)
        {
            slices[i] = new LinearSlice(parts[i].Shape, rows);
            rows += parts[i].Shape.OutFeatures;
        }

        WeightMatrix weight = Matrix(
            parts[0].Shape.Path,
            rows,
            parts[0].Shape.InFeatures,
            format,
            (row, target) => ReadParts(parts, slices, row, target),
            [.. parts.Select(part => part.Weight)]);
        return new Linear(slices, weight, BuildBias(parts, rows));
    }

    private static void ReadParts(ModulePlan[] parts, LinearSlice[] slices, int firstRow, Span<float> target)
    {
        int columns = parts[0].Shape.InFeatures;
        int end = firstRow + (target.Length / columns);
        for (int i = 0; i < parts.Length; i++)
        {
            int first = Math.Max(firstRow, slices[i].FirstRow);
            int last = Math.Min(end, slices[i].FirstRow + slices[i].RowCount);
            if (first < last)
            {
                parts[i].ReadRows(first - slices[i].FirstRow, target.Slice((first - firstRow) * columns, (last - first) * columns));
            }
        }
    }

    private DeviceBuffer? BuildBias(ModulePlan[] parts, int rows)
    {
        if (parts.All(part => part.Bias is null))
        {
            return null;
        }

        float[] bias = new float[rows];
        int first = 0;
        foreach (ModulePlan part in parts)
        {
            part.Bias?.Read(0, bias.AsSpan(first, part.Shape.OutFeatures));
            first += part.Shape.OutFeatures;
        }

        return Vector(bias, parts[0].Shape.Path + ".bias");
    }

    private Norm BuildNorm(ModulePlan plan) => new(
        plan.Shape,
        Vector(plan.Weight.ReadAll(), plan.Shape.Path),
        plan.Bias is { } bias ? Vector(bias.ReadAll(), plan.Shape.Path + ".bias") : null,
        _config.HasLayerNorm,
        _config.NormOffset,
        _config.NormEpsilon);

    private HeadNorm? BuildHeadNorm(CheckpointTensor? weight) =>
        weight is { } tensor ? new HeadNorm(Vector(tensor.ReadAll(), tensor.Entry.Name), _config.HeadSize, _config.NormEpsilon) : null;

    private DeviceBuffer Vector(float[] values, string label)
    {
        DeviceBuffer buffer = Keep(_backend.Allocate((long)values.Length * sizeof(float), label));
        _backend.Write(values, buffer);
        Loaded(buffer.ByteCount);
        return buffer;
    }

    private WeightMatrix Matrix(string label, int rows, int columns, WeightFormat format, WeightRowReader reader, params ReadOnlySpan<CheckpointTensor> sources)
    {
        WeightMatrix? kept = _packed?.TryRead(rows, columns, format, label);
        WeightMatrix matrix = Keep(kept ?? _backend.CreateMatrix(rows, columns, format, label, reader));

        // Packed, it is not read again: otherwise the checkpoint would take as much memory as the weights.
        foreach (CheckpointTensor source in sources)
        {
            source.Release();
        }

        _packed?.Add(matrix);
        Loaded(matrix.ByteCount);
        return matrix;
    }

    private void Loaded(long bytes)
    {
        _loadedBytes += bytes;
        _loadedModules = Math.Min(_loadedModules + 1, _plan.Modules.Count);
        _progress?.Report(new LoadProgress(_loadedBytes, _loadedModules, _plan.Modules.Count));
    }

    private T Keep<T>(T made)
        where T : IDisposable
    {
        _made.Push(made);
        return made;
    }
}
