using InferenceServer.Models.PackedWeights;
using InferenceServer.Tensors;

namespace InferenceServer.Models.Transformer;

/// <summary>How a model is brought onto the device.</summary>
public sealed record ModelLoadOptions
{
    /// <summary>
    /// How the weight matrices are kept; BF16 by default, as most checkpoints are stored. Quantised are the linear layers; embeddings are
    /// then BF16, and so is the output head unless <see cref="Head"/> says otherwise.
    /// </summary>
    public WeightFormat Weights { get; init; } = WeightFormat.BF16;

    /// <summary>
    /// How the output head is kept, and with it the embeddings if they are its own matrix. Null (the default) for BF16 beside quantised
    /// layers, as QLoRA keeps it, and for the layers' format else. Int8 halves what every token reads of it.
    /// </summary>
    public WeightFormat? Head { get; init; }

    /// <summary>The format that <see cref="Head"/> comes to.</summary>
    public WeightFormat HeadFormat => Head ?? Weights.Unquantized();

    /// <summary>Most rows of one step; sizes the activations.</summary>
    public int MaxBatchTokens { get; init; } = 512;

    /// <summary>Most rows of one step whose logits are wanted; each costs a row of the vocabulary's size.</summary>
    public int MaxSampledRows { get; init; } = 128;

    /// <summary>Longest sequence in tokens; null for the model's own limit, at most <see cref="DefaultMaxModelLength"/>.</summary>
    public int? MaxModelLength { get; init; }

    /// <summary>Where packed weights are kept between loads; null (the default) for nowhere.</summary>
    public PackedWeightCache? PackedWeights { get; init; }

    /// <summary>Bound of the default: the rope table and block tables grow with it, while few tenants need more.</summary>
    public const int DefaultMaxModelLength = 32_768;
}
