using InferenceServer.Models.Checkpoints;
using InferenceServer.Models.Configuration;
using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>
/// Every module that a config asks for, with its tensors found in the checkpoint and their shapes checked: all errors of a model folder
/// come to light here, before any weight memory is taken.
/// </summary>
internal sealed class ModelPlan
{
    private readonly Checkpoint _checkpoint;
    private readonly ModelConfig _config;
    private readonly ModuleNames _names;
    private readonly List<ModulePlan> _modules = [];

    private ModelPlan(Checkpoint checkpoint, ModelConfig config)
    {
        _checkpoint = checkpoint;
        _config = config;
        _names = ModuleNames.Of(config);
        Embedding = Add(_names.Root + _names.Embedding, ModuleKind.Embedding, config.HiddenSize, config.VocabularySize, false, -1);
        Layers = new LayerPlan[config.LayerCount];
        for (int layer = 0; layer < Layers.Length; layer++)
        {
            Layers[layer] = AddLayer(layer);
        }

        FinalNorm = AddNorm(_names.Root + _names.FinalNorm, -1);
        string head = ModuleNames.OutputHead + ".weight";
        IsTied = config.TiedEmbeddings ?? !checkpoint.Has(head);
        Head = IsTied
            ? AddTiedHead()
            : Add(ModuleNames.OutputHead, ModuleKind.Linear, config.VocabularySize, config.HiddenSize, false, -1);
        if (_names.Positions is not null)
        {
            Positions = Tensor(_names.Root + _names.Positions + ".weight", config.MaxPositions, config.HiddenSize);
        }
    }

    public ModulePlan Embedding { get; }

    /// <summary>Learned position embeddings <c>[positions, H]</c>.</summary>
    public CheckpointTensor? Positions { get; }

    public LayerPlan[] Layers { get; }

    public ModulePlan FinalNorm { get; }

    /// <summary>The output head; when tied its weight is the embedding's.</summary>
    public ModulePlan Head { get; }

    public bool IsTied { get; }

    /// <summary>All modules by index.</summary>
    public IReadOnlyList<ModulePlan> Modules => _modules;

    /// <summary>Finds and checks everything.</summary>
    /// <exception cref="ModelFormatException">A tensor is missing or has another shape or type.</exception>
    public static ModelPlan Create(Checkpoint checkpoint, ModelConfig config) => new(checkpoint, config);

    private LayerPlan AddLayer(int layer)
    {
        string prefix = $"{_names.Root}{_names.Layers}.{layer}.";
        int queryWidth = _config.HeadCount * _config.HeadSize;
        int keyWidth = _config.KvHeadCount * _config.HeadSize;
        int up = _config.IntermediateSize;
        int[] qkvWidths = _names.Qkv.Length == 1 ? [queryWidth + (2 * keyWidth)] : [queryWidth, keyWidth, keyWidth];
        int[] upWidths = _names.Up.Length == 2 ? [up, up] : [_config.IsGated ? 2 * up : up];
        ModuleKind kind = _names.IsConv1D ? ModuleKind.Conv1D : ModuleKind.Linear;
        return new LayerPlan(
            AddNorm(prefix + _names.InputNorm, layer),
            [.. _names.Qkv.Select((name, i) => Add(prefix + name, kind, qkvWidths[i], _config.HiddenSize, _config.HasQkvBias, layer))],
            _config.HasQkNorm ? Tensor(prefix + "self_attn.q_norm.weight", _config.HeadSize) : null,
            _config.HasQkNorm ? Tensor(prefix + "self_attn.k_norm.weight", _config.HeadSize) : null,
            Add(prefix + _names.Output, kind, _config.HiddenSize, queryWidth, _config.HasOutputBias, layer),
            _names.PostAttentionNorm is null ? null : AddNorm(prefix + _names.PostAttentionNorm, layer),
            AddNorm(prefix + _names.FeedForwardNorm, layer),
            _names.PostFeedForwardNorm is null ? null : AddNorm(prefix + _names.PostFeedForwardNorm, layer),
            [.. _names.Up.Select((name, i) => Add(prefix + name, kind, upWidths[i], _config.HiddenSize, _config.HasMlpBias, layer))],
            Add(prefix + _names.Down, kind, _config.HiddenSize, up, _config.HasMlpBias, layer));
    }

    private ModulePlan Add(string path, ModuleKind kind, int outFeatures, int inFeatures, bool hasBias, int layer)
    {
        CheckpointTensor weight = kind switch
        {
            ModuleKind.Linear => Tensor(path + ".weight", outFeatures, inFeatures),
            ModuleKind.Norm => Tensor(path + ".weight", outFeatures),
            _ => Tensor(path + ".weight", inFeatures, outFeatures),
        };
        CheckpointTensor? bias = hasBias ? Tensor(path + ".bias", outFeatures) : null;
        ModulePlan plan = new(new ModuleShape(_modules.Count, path, kind, outFeatures, inFeatures, hasBias, layer), weight, bias);
        _modules.Add(plan);
        return plan;
    }

    private ModulePlan AddNorm(string path, int layer) => Add(path, ModuleKind.Norm, _config.HiddenSize, 0, _config.HasLayerNorm, layer);

    private ModulePlan AddTiedHead()
    {
        ModuleShape shape = new(_modules.Count, ModuleNames.OutputHead, ModuleKind.Linear, _config.VocabularySize, _config.HiddenSize, false, -1);
        ModulePlan plan = new(shape, Embedding.Weight, null);
        _modules.Add(plan);
        return plan;
    }

    // Checkpoints saved from the inner model (the original GPT-2 among them) have no root prefix.
    private CheckpointTensor Tensor(string name, params ReadOnlySpan<long> shape)
    {
        string bare = name.StartsWith(_names.Root, StringComparison.Ordinal) ? name[_names.Root.Length..] : name;
        return _checkpoint.Find(!_checkpoint.Has(name) && _checkpoint.Has(bare) ? bare : name, shape);
    }
}
