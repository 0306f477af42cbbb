using InferenceServer.Tensors;

namespace InferenceServer.Models.Configuration;

/// <summary>A model's config.json, brought to one form for all architectures. Letters are those of docs/NOTATION.md.</summary>
public sealed record ModelConfig
{
    /// <summary>For example <c>LlamaForCausalLM</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>H.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>L.</summary>
    public required int LayerCount { get; init; }

    /// <summary>Q.</summary>
    public required int HeadCount { get; init; }

    /// <summary>K.</summary>
    public required int KvHeadCount { get; init; }

    /// <summary>D.</summary>
    public required int HeadSize { get; init; }

    /// <summary>I.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>V.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Longest sequence the model was made for.</summary>
    public required int MaxPositions { get; init; }

    public required Activation Activation { get; init; }

    public required float NormEpsilon { get; init; }

    /// <summary>LayerNorm with bias (GPT-2) instead of RMSNorm.</summary>
    public bool HasLayerNorm { get; init; }

    /// <summary>Added to every RMSNorm weight: 1 for Gemma.</summary>
    public float NormOffset { get; init; }

    /// <summary>Feed-forward with a gate; GPT-2 has none.</summary>
    public bool IsGated { get; init; } = true;

    /// <summary>true or false as the config says; null decides by whether the checkpoint has an lm_head.</summary>
    public bool? TiedEmbeddings { get; init; }

    /// <summary>Query, key and value projections have a bias.</summary>
    public bool HasQkvBias { get; init; }

    /// <summary>The attention's output projection has a bias.</summary>
    public bool HasOutputBias { get; init; }

    public bool HasMlpBias { get; init; }

    /// <summary>RMSNorm on each query and key head (Qwen3).</summary>
    public bool HasQkNorm { get; init; }

    /// <summary>Norms after attention and feed-forward too, before the residual (Gemma 2).</summary>
    public bool HasPostNorms { get; init; }

    /// <summary>Learned position embeddings instead of rotary ones (GPT-2).</summary>
    public bool HasLearnedPositions { get; init; }

    public double RopeTheta { get; init; } = 10_000;

    /// <summary>Elements of a head that rotate.</summary>
    public int RotarySize { get; init; }

    public RopeScaling? RopeScaling { get; init; }

    /// <summary>Sliding window of each layer; 0 for none.</summary>
    public required int[] Windows { get; init; }

    /// <summary>Factor of the attention scores.</summary>
    public required float AttentionScale { get; init; }

    /// <summary>Soft cap of the attention scores; 0 for none.</summary>
    public float AttentionSoftCap { get; init; }

    /// <summary>Soft cap of the logits; 0 for none.</summary>
    public float FinalSoftCap { get; init; }

    /// <summary>Factor of the embeddings: sqrt(H) for Gemma, else 1.</summary>
    public float EmbeddingScale { get; init; } = 1f;

    /// <summary>End tokens named by config.json.</summary>
    public int[] EosTokenIds { get; init; } = [];
}
