using InferenceServer.Models.Checkpoints;
using InferenceServer.Models.Configuration;
using InferenceServer.Models.Merging;
using InferenceServer.Models.PackedWeights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Models.Transformer;

/// <summary>
/// The one forward pass, for every supported architecture and device. Base weights are frozen; adapters come with each step.
/// <see cref="Forward"/>, <see cref="Install"/> and <see cref="RemoveFolded"/> belong to one thread; <see cref="Fold"/> may run beside them.
/// </summary>
public sealed class TransformerModel : IDisposable
{
    private readonly IComputeBackend _backend;
    private readonly Checkpoint _checkpoint;
    private readonly ModelParts _parts;
    private readonly PackedSave? _saving;
    private readonly Workspace _workspace;
    private readonly RopeTable? _rope;
    private readonly ModuleShape _embeddingModule;
    private readonly ModuleShape _headModule;
    private readonly bool _isTied;
    private readonly bool _ownsWeights = true;

    private TransformerModel(
        IComputeBackend backend,
        Checkpoint checkpoint,
        ModelConfig config,
        ModelPlan plan,
        ModelLoadOptions options,
        PackedSource? packed,
        IProgress<LoadProgress>? progress)
    {
        _backend = backend;
        _checkpoint = checkpoint;
        Config = config;
        WeightFormat = options.Weights;
        MaxModelLength = ReadMaxModelLength(config, options);
        (_parts, WeightBytes) = new ModelBuilder(backend, config, plan, options, packed, progress).Build();
        _workspace = new Workspace(backend, config, options.MaxBatchTokens, options.MaxSampledRows);
        _rope = config.HasLearnedPositions ? null : RopeTableBuilder.Create(backend, config, MaxModelLength);
        _embeddingModule = plan.Embedding.Shape;
        _headModule = plan.Head.Shape;
        _isTied = plan.IsTied;
        ParameterCount = plan.Modules
            .Where(module => !(plan.IsTied && module == plan.Head))
            .Sum(module => module.Weight.Entry.ElementCount + (module.Bias?.Entry.ElementCount ?? 0));
        Shape = new ModelShape(
            config.Architecture,
            config.LayerCount,
            plan.IsTied,
            ModuleNames.OutputHead,
            [.. plan.Modules.Select(module => module.Shape)],
            (module, row, target) => plan.Modules[module.Index].ReadRows(row, target.Span),
            module => plan.Modules[module.Index].Bias?.ReadAll(),
            options.Weights.IsQuantized() ? UsedRowReader(backend, _parts, plan) : null);
        _saving = packed?.Finish();
    }

    private TransformerModel(TransformerModel original, IComputeBackend backend, int maxBatchTokens, int maxSampledRows)
    {
        _backend = backend;
        _checkpoint = original._checkpoint;
        Config = original.Config;
        WeightFormat = original.WeightFormat;
        MaxModelLength = original.MaxModelLength;
        WeightBytes = original.WeightBytes;
        ParameterCount = original.ParameterCount;
        Shape = original.Shape;
        _parts = original._parts.Unmerged();
        _workspace = new Workspace(backend, Config, maxBatchTokens, maxSampledRows);
        _rope = original._rope;
        _embeddingModule = original._embeddingModule;
        _headModule = original._headModule;
        _isTied = original._isTied;
        _ownsWeights = false;
    }

    public ModelConfig Config { get; }

    /// <summary>What adapters must fit.</summary>
    public ModelShape Shape { get; }

    public WeightFormat WeightFormat { get; }

    /// <summary>Longest sequence in tokens, prompt and output.</summary>
    public int MaxModelLength { get; }

    /// <summary>Most rows of one step.</summary>
    public int MaxBatchTokens => _workspace.MaxTokens;

    /// <summary>Most sampled rows of one step.</summary>
    public int MaxSampledRows => _workspace.MaxSampledRows;

    /// <summary>Device bytes of the base weights.</summary>
    public long WeightBytes { get; }

    /// <summary>Parameters of the base.</summary>
    public long ParameterCount { get; }

    /// <summary>Loads a Hugging Face folder: config.json and safetensors weights.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="backend">Where it will run; outlives the model.</param>
    /// <param name="options">Formats and sizes.</param>
    /// <param name="progress">Told after each tensor; may be null.</param>
    /// <exception cref="ModelFormatException">The folder cannot be served; nothing stays allocated.</exception>
    public static TransformerModel Load(string folder, IComputeBackend backend, ModelLoadOptions options, IProgress<LoadProgress>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(options);
        ModelConfig config = ModelConfigReader.Read(Path.Combine(folder, "config.json"));
        Checkpoint checkpoint = Checkpoint.Open(folder);
        try
        {
            ModelPlan plan = ModelPlan.Create(checkpoint, config);
            using PackedSource? packed = PackedSource.Create(folder, backend, checkpoint, options);
            return new TransformerModel(backend, checkpoint, config, plan, options, packed, progress);
        }
        catch (AggregateException error) when (error.InnerExceptions.Count > 0 && error.InnerExceptions[0] is ModelFormatException inner)
        {
            // Matrices are read by several threads; the first problem is the message.
            checkpoint.Dispose();
            throw inner;
        }
        catch (InvalidDataException error)
        {
            checkpoint.Dispose();
            throw new ModelFormatException("weights", error.Message, error);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>The weights and rope table on the device.</summary>
    internal ModelParts Parts => _parts;

    /// <summary>The writing of packed weights for the next load; null when there is nothing to write.</summary>
    internal PackedSave? Saving => _saving;

    /// <summary>The files that the weights came from, as they are.</summary>
    internal Checkpoint Checkpoint => _checkpoint;

    /// <summary>
    /// The same base weights with another backend and activations of its own, so that another thread may run other steps beside this
    /// model's (training beside serving). What is merged here is not merged there. Dispose it before this model.
    /// </summary>
    /// <param name="backend">A backend of the same kind; it runs every operation of the view.</param>
    /// <param name="maxBatchTokens">Most rows of one step.</param>
    /// <param name="maxSampledRows">Most rows whose logits are wanted.</param>
    public TransformerModel CreateView(IComputeBackend backend, int maxBatchTokens, int maxSampledRows) =>
        new(this, backend, maxBatchTokens, maxSampledRows);

    /// <summary>Geometry of a KV cache for this model, in the format of its backend.</summary>
    public KvCacheShape KvShape(int blocks, int blockSize) =>
        new(Config.LayerCount, blocks, blockSize, Config.KvHeadCount, Config.HeadSize, _backend.KeyValueFormat);

    /// <summary>Runs one step: stores the keys and values of all its rows and computes the logits of its sampled rows.</summary>
    /// <param name="step">Tokens, positions, blocks, adapters.</param>
    /// <param name="cache">The KV cache that the block numbers refer to.</param>
    /// <returns>Logits <c>[sampled rows, V]</c>, valid until the next call.</returns>
    public TensorView Forward(StepInputs step, KvCache cache)
    {
        Embed(step);
        for (int layer = 0; layer < _parts.Layers.Length; layer++)
        {
            RunLayer(layer, step, cache);
        }

        return Head(step);
    }

    /// <summary>The first part of <see cref="Forward"/>: begins the step and fills the hidden states.</summary>
    /// <returns>The hidden states <c>[T, H]</c>, which each layer changes in place.</returns>
    internal TensorView Embed(StepInputs step)
    {
        TensorView hidden = _workspace.Hidden.SliceRows(0, step.TokenCount);
        _backend.BeginStep(step);
        _backend.Embed(_parts.Embedding, hidden);
        if (!step.Lora.Groups.IsEmpty)
        {
            _backend.ApplyEmbeddingAdapters(_embeddingModule.Index, hidden);
        }

        if (_parts.Positions is not null)
        {
            _backend.AddPositions(_parts.Positions, hidden);
        }

        if (Config.EmbeddingScale != 1f)
        {
            _backend.Scale(Config.EmbeddingScale, hidden);
        }

        return hidden;
    }

    /// <summary>One layer of <see cref="Forward"/>, on the hidden states as they are.</summary>
    internal void RunLayer(int layer, StepInputs step, KvCache cache)
    {
        TensorView hidden = _workspace.Hidden.SliceRows(0, step.TokenCount);
        Attend(_parts.Layers[layer], layer, step, cache, hidden);
        FeedForward(_parts.Layers[layer], step, hidden);
    }

    /// <summary>The last part of <see cref="Forward"/>: the logits of the sampled rows of the hidden states, which stay as they are.</summary>
    internal TensorView Head(StepInputs step)
    {
        TensorView hidden = _workspace.Hidden.SliceRows(0, step.TokenCount);
        int rows = step.SampledRows.Length;
        TensorView sampled = _workspace.Sampled.SliceRows(0, rows);
        TensorView normed = _workspace.SampledNormed.SliceRows(0, rows);
        TensorView logits = _workspace.Logits.SliceRows(0, rows);
        if (rows == 0)
        {
            return logits;
        }

        _backend.GatherSampledRows(hidden, sampled);
        _parts.FinalNorm.Forward(_backend, step.SampledLora, sampled, normed);
        _parts.Head.Forward(_backend, step.SampledRestore, step.SampledLora, normed, logits, _workspace.Scratch);
        if (!step.SampledLora.Groups.IsEmpty)
        {
            _backend.ApplyReplacedRows(step.SampledLora, _headModule.Index, normed, logits);
            if (_isTied)
            {
                // Trained token rows are rows of the one weight that embedding and head share.
                _backend.ApplyReplacedRows(step.SampledLora, _embeddingModule.Index, normed, logits);
            }
        }

        if (Config.FinalSoftCap > 0)
        {
            _backend.SoftCap(Config.FinalSoftCap, logits);
        }

        return logits;
    }

    /// <summary>
    /// Folds an adapter into copies of the weights that it changes, beside the running steps; nothing changes until
    /// <see cref="Install"/>.
    /// </summary>
    /// <param name="weights">The adapter.</param>
    /// <param name="format">
    /// F32 keeps every tenant's logits as they were to f32 rounding, at twice the bytes of a bf16 base for the changed matrices; BF16
    /// keeps the base's speed and rounds each changed weight once more.
    /// </param>
    /// <exception cref="MergeException">The adapter cannot be folded so that the other tenants stay correct.</exception>
    public FoldedAdapter Fold(AdapterWeights weights, WeightFormat format = WeightFormat.F32) =>
        AdapterFolder.Fold(_backend, _parts.Linears, weights, format);

    /// <summary>Puts the folded weights in place of the base's; between steps. They may have been folded for a model of which this is a view.</summary>
    public void Install(FoldedAdapter folded)
    {
        ArgumentNullException.ThrowIfNull(folded);
        if (_parts.Linears.Any(linear => linear.Weight != linear.Original))
        {
            throw new InvalidOperationException("an adapter is merged already");
        }

        foreach ((Linear linear, WeightMatrix weight) in folded.Weights)
        {
            _parts.Linears.Single(own => own.Original == linear.Original).Weight = weight;
        }
    }

    /// <summary>Puts the base's own weights back; between steps.</summary>
    public void RemoveFolded()
    {
        foreach (Linear linear in _parts.Linears)
        {
            linear.Weight = linear.Original;
        }
    }

    /// <summary>The weight in use for a module's matrix (shared with the modules beside it), for checks.</summary>
    public WeightMatrix WeightInUse(ModuleShape module)
    {
        ArgumentNullException.ThrowIfNull(module);
        return _parts.Linears.Single(linear => linear.Slices.Any(slice => slice.Module.Index == module.Index)).Weight;
    }

    public void Dispose()
    {
        _workspace.Dispose();
        if (!_ownsWeights)
        {
            return;
        }

        _saving?.Dispose();
        _parts.Dispose();
        _rope?.Cos.Dispose();
        _rope?.Sin.Dispose();
        _checkpoint.Dispose();
    }

    private static Action<ModuleShape, int, Memory<float>> UsedRowReader(IComputeBackend backend, ModelParts parts, ModelPlan plan)
    {
        (WeightMatrix Matrix, int FirstRow)[] places = new (WeightMatrix, int)[plan.Modules.Count];
        foreach (Linear linear in parts.Linears.Where(linear => linear.Original.Format.IsQuantized()))
        {
            foreach (LinearSlice slice in linear.Slices)
            {
                places[slice.Module.Index] = (linear.Original, slice.FirstRow);
            }
        }

        return (module, row, target) =>
        {
            (WeightMatrix? matrix, int firstRow) = places[module.Index];
            if (matrix is null)
            {
                plan.Modules[module.Index].ReadRows(row, target.Span);
            }
            else
            {
                backend.ReadMatrix(matrix, firstRow + row, target.Span);
            }
        };
    }

    private static int ReadMaxModelLength(ModelConfig config, ModelLoadOptions options)
    {
        int limit = config.MaxPositions;
        if (options.MaxModelLength is not { } asked)
        {
            return Math.Min(limit, ModelLoadOptions.DefaultMaxModelLength);
        }

        if (asked < 1 || (config.HasLearnedPositions && asked > limit))
        {
            throw new ModelFormatException("config.json", $"max model length {asked} is outside 1 to {limit}, the positions the model has");
        }

        return asked;
    }

    private void Attend(DecoderLayer layer, int index, StepInputs step, KvCache cache, TensorView hidden)
    {
        int rows = hidden.Rows;
        int queryWidth = Config.HeadCount * Config.HeadSize;
        int keyWidth = Config.KvHeadCount * Config.HeadSize;
        TensorView normed = _workspace.Normed.SliceRows(0, rows);
        TensorView qkv = _workspace.Qkv.SliceRows(0, rows);
        TensorView attended = _workspace.Attended.SliceRows(0, rows);
        layer.InputNorm.Forward(_backend, step.Lora, hidden, normed);
        layer.Qkv.Forward(_backend, step.Restore, step.Lora, normed, qkv, _workspace.Scratch);
        TensorView q = qkv.SliceColumns(0, queryWidth);
        TensorView k = qkv.SliceColumns(queryWidth, keyWidth);
        TensorView v = qkv.SliceColumns(queryWidth + keyWidth, keyWidth);
        layer.QueryNorm?.Forward(_backend, q);
        layer.KeyNorm?.Forward(_backend, k);
        if (_rope is not null)
        {
            _backend.Rope(_rope, Config.HeadSize, q);
            _backend.Rope(_rope, Config.HeadSize, k);
        }

        _backend.StoreKv(k, v, cache, index);
        _backend.PagedAttention(q, cache, index, layer.Attention, attended);
        AddBranch(layer.Output, layer.PostAttentionNorm, step, attended, hidden);
    }

    private void FeedForward(DecoderLayer layer, StepInputs step, TensorView hidden)
    {
        int rows = hidden.Rows;
        TensorView normed = _workspace.Normed.SliceRows(0, rows);
        TensorView up = _workspace.Up.SliceRows(0, rows);
        TensorView activated = _workspace.Activated.SliceRows(0, rows);
        layer.FeedForwardNorm.Forward(_backend, step.Lora, hidden, normed);
        layer.Up.Forward(_backend, step.Restore, step.Lora, normed, up, _workspace.Scratch);
        if (Config.IsGated)
        {
            _backend.GatedActivation(up, Config.Activation, activated);
        }
        else
        {
            _backend.Activate(Config.Activation, activated);
        }

        AddBranch(layer.Down, layer.PostFeedForwardNorm, step, activated, hidden);
    }

    // The end of both halves of a layer: output projection, perhaps a norm, residual.
    private void AddBranch(Linear linear, Norm? norm, StepInputs step, TensorView x, TensorView hidden)
    {
        TensorView delta = _workspace.Delta.SliceRows(0, x.Rows);
        linear.Forward(_backend, step.Restore, step.Lora, x, delta, _workspace.Scratch);
        if (norm is not null)
        {
            TensorView normed = _workspace.Normed.SliceRows(0, x.Rows);
            norm.Forward(_backend, step.Lora, delta, normed);
            delta = normed;
        }

        _backend.Add(delta, hidden);
    }
}
