using System.Numerics.Tensors;
using InferenceServer.Models.Checkpoints;
using InferenceServer.Models.Merging;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Training.Export;

/// <summary>
/// Writes a base with an adapter folded in as a Hugging Face folder that needs neither: the tensors of the base's own files, changed where
/// the adapter changes them, whatever the base's weights are kept as for serving. One chunk of rows is in memory at a time.
/// </summary>
public sealed class MergedModelExporter
{
    private const int ChunkElements = 1 << 18;

    private readonly TransformerModel _model;
    private readonly ModuleNames _names;
    private readonly AdapterWeights _adapter;
    private readonly MergedModelOptions _options;
    private readonly CancellationToken _cancellation;
    private readonly Dictionary<string, FoldedWeight> _weights = new(StringComparer.Ordinal);
    private readonly Dictionary<string, float[]> _biases = new(StringComparer.Ordinal);

    private MergedModelExporter(TransformerModel model, AdapterWeights adapter, MergedModelOptions options, CancellationToken cancellation)
    {
        _model = model;
        _names = ModuleNames.Of(model.Config);
        _adapter = adapter;
        _options = options;
        _cancellation = cancellation;
    }

    private Checkpoint Checkpoint => _model.Checkpoint;

    private string HeadWeight => _model.Shape.OutputHeadPath + ".weight";

    /// <summary>Writes the folder.</summary>
    /// <param name="model">The base; it may serve meanwhile.</param>
    /// <param name="baseFolder">The base's folder: its config, tokenizer and chat template are copied.</param>
    /// <param name="adapter">What is folded in.</param>
    /// <param name="folder">Made when it is missing; another than the base's.</param>
    /// <param name="options">Types and sizes; null for the defaults.</param>
    /// <param name="cancellation">Stops between two chunks; what is written so far stays.</param>
    /// <exception cref="MergeException">The adapter does what no weight of this model can; nothing is written.</exception>
    public static void Write(
        TransformerModel model,
        string baseFolder,
        AdapterWeights adapter,
        string folder,
        MergedModelOptions? options = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(adapter);
        MergedModelExporter exporter = new(model, adapter, options ?? new MergedModelOptions(), cancellation);
        exporter.Plan();
        exporter.Write(baseFolder, folder);
    }

    private void Plan()
    {
        foreach (ModuleShape module in _model.Shape.Modules)
        {
            if (_adapter.Deltas[module.Index] is not { } delta || (IsTiedHead(module) && !Unties))
            {
                continue;
            }

            if (delta.Gate is not null)
            {
                throw Refuse($"it is routed, {module.Path} weighs its adapters anew for each token, so no one weight holds it");
            }

            _weights.Add(IsTiedHead(module) ? HeadWeight : StoredName(module.Path + ".weight"), new FoldedWeight(module, delta));
            if (delta.OutputBias is not null)
            {
                string bias = StoredName(module.Path + ".bias");
                _biases.Add(
                    bias, Checkpoint.Has(bias) ? delta.OutputBias : throw Refuse($"it adds a bias to {module.Path}, which has none in this model"));
            }
        }
    }

    private void Write(string baseFolder, string folder)
    {
        List<SafetensorsWriter.Source> tensors = [];
        foreach (CheckpointTensor tensor in Checkpoint.Tensors)
        {
            // A tied head's own copy, which nobody reads, gives way to the one that is written below.
            if (!(Unties && tensor.Entry.Name == HeadWeight))
            {
                tensors.Add(Tensor(tensor.Entry.Name, tensor));
            }
        }

        if (Unties)
        {
            ModuleShape embedding = _model.Shape.Modules.First(module => module.Kind == ModuleKind.Embedding);
            tensors.Add(Tensor(HeadWeight, Checkpoint.Find(StoredName(embedding.Path + ".weight"), embedding.InFeatures, embedding.OutFeatures)));
        }

        ModelFolder.CopyCompanions(baseFolder, folder, _options.IsSinglePrecision, Unties);
        WeightFiles.Write(folder, tensors, _options.MaxShardBytes);
    }

    /// <summary>Whether embedding and output head are one weight in the base and become two.</summary>
    private bool Unties
    {
        get
        {
            if (!_model.Shape.HasTiedEmbeddings)
            {
                return false;
            }

            LowRankDelta? head = _adapter.Deltas[_model.Shape.Find(_model.Shape.OutputHeadPath)!.Index];
            LowRankDelta? embedding = _adapter.Deltas[_model.Shape.Modules.First(module => module.Kind == ModuleKind.Embedding).Index];

            // Trained tokens are rows of both ends; all else changes one end only.
            bool isSame = head?.ReplacedRows == embedding?.ReplacedRows && HasRowsOnly(head) && HasRowsOnly(embedding);
            return !isSame;
        }
    }

    private SafetensorsWriter.Source Tensor(string name, CheckpointTensor tensor)
    {
        SafetensorsEntry entry = tensor.Entry;
        FoldedWeight? weight = _weights.GetValueOrDefault(name);
        float[]? bias = _biases.GetValueOrDefault(name);
        DType type = entry.Type.IsWeight() && _options.IsSinglePrecision ? DType.F32 : entry.Type;
        bool isCopied = weight is null && bias is null && type == entry.Type;
        return new SafetensorsWriter.Source(
            name, type, entry.Shape, target => WriteTensor(target, tensor, isCopied, new Target(name, type, weight, bias)));
    }

    private void WriteTensor(Stream target, CheckpointTensor tensor, bool isCopied, Target change)
    {
        if (isCopied)
        {
            for (long start = 0; start < tensor.Entry.ByteCount; start += ChunkElements)
            {
                _cancellation.ThrowIfCancellationRequested();
                target.Write(tensor.File.Bytes(tensor.Entry, start, (int)Math.Min(ChunkElements, tensor.Entry.ByteCount - start)));
            }

            return;
        }

        // A vector is one row.
        int columns = (int)(tensor.Entry.Shape.Length == 0 ? 1 : tensor.Entry.Shape[^1]);
        int rows = (int)(tensor.Entry.ElementCount / Math.Max(1, columns));
        int rowsAtOnce = Math.Max(1, ChunkElements / Math.Max(1, columns));
        float[] values = new float[Math.Min(rows, rowsAtOnce) * columns];
        byte[] bytes = new byte[values.Length * change.Type.ByteSize()];
        for (int row = 0; row < rows; row += rowsAtOnce)
        {
            _cancellation.ThrowIfCancellationRequested();
            Span<float> part = values.AsSpan(0, Math.Min(rowsAtOnce, rows - row) * columns);
            tensor.Read((long)row * columns, part);
            change.Weight?.Apply(row, columns, part);
            if (change.Bias is not null)
            {
                TensorPrimitives.Add(part, change.Bias, part);
            }

            Span<byte> stored = bytes.AsSpan(0, part.Length * change.Type.ByteSize());
            FloatConversion.FromSingle(change.Type, part, stored);
            CheckStored(change, part, stored);
            target.Write(stored);
        }
    }

    // F16 ends at 65504, and a fold may leave what its type can hold.
    private void CheckStored(Target change, Span<float> values, ReadOnlySpan<byte> stored)
    {
        FloatConversion.ToSingle(change.Type, stored, values);
        if (values.Length > 0 && !float.IsFinite(TensorPrimitives.MaxMagnitude<float>(values)))
        {
            throw Refuse($"a value of {change.Name} is outside what {change.Type} holds");
        }
    }

    private bool IsTiedHead(ModuleShape module) => _model.Shape.HasTiedEmbeddings && module.Path == _model.Shape.OutputHeadPath;

    private static bool HasRowsOnly(LowRankDelta? delta) =>
        delta is null or { A: null, Gate: null, Replacement: null, OutputScale: null, InputScale: null, OutputBias: null };

    // Checkpoints saved from the inner model have no root prefix.
    private string StoredName(string name)
    {
        string bare = name.StartsWith(_names.Root, StringComparison.Ordinal) ? name[_names.Root.Length..] : name;
        return !Checkpoint.Has(name) && Checkpoint.Has(bare) ? bare : name;
    }

    private MergeException Refuse(string reason) => new($"'{_adapter.Label}' cannot be folded into a model of its own: {reason}");

    private sealed record Target(string Name, DType Type, FoldedWeight? Weight, float[]? Bias);
}
