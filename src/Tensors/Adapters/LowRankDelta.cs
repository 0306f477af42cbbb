namespace InferenceServer.Tensors.Adapters;

/// <summary>
/// The run-time form of one adapter on one module, whatever method made it. For a linear module with base weight W and bias b:
/// <c>y = OutputScale * (W (InputScale * x)) + B (g(x) A x) + OutputBias + b</c>, g being 1 without a <see cref="Gate"/>. Every scale factor (alpha/r, rsLoRA, AdaLoRA's E,
/// VeRA's vectors, DoRA's g on the low-rank part) is folded into <see cref="B"/> at import.
/// </summary>
/// <remarks>
/// LoRA, rsLoRA, LoRA-FA, PiSSA/OLoRA exports: A, B. lora_bias and bias="all": OutputBias. DoRA: OutputScale g = m / |W + sBA| by output
/// row and B = g * s * B. VeRA: A = diag(d) A[:, :in], B = diag(b) B[:out]. IA3: OutputScale (and OutputBias (l - 1) b), or InputScale on
/// feed-forward modules. modules_to_save: Replacement. trainable_token_indices: ReplacedRows. For an embedding module the weight is
/// read by column: <c>y[token] = E[token] + B A[:, token]</c> with A <c>[R, vocabulary]</c> and B <c>[hidden, R]</c>. For a norm,
/// Replacement is the new weight as one row and OutputBias is added to the base's bias.
/// </remarks>
public sealed record LowRankDelta
{
    /// <summary>Down projection <c>[R, in]</c>; null when the module has no low-rank part (rank 0).</summary>
    public HostMatrix? A { get; init; }

    /// <summary>Up projection <c>[out, R]</c>, all scales folded in; null together with <see cref="A"/>.</summary>
    public HostMatrix? B { get; init; }

    /// <summary>Weighs blocks of ranks by the input of each row (a routed adapter); null for none. Linear modules only.</summary>
    public RankGate? Gate { get; init; }

    /// <summary>Factor of the base's output <c>[out]</c>, or null for ones.</summary>
    public float[]? OutputScale { get; init; }

    /// <summary>Factor of the base's input <c>[in]</c>, or null for ones.</summary>
    public float[]? InputScale { get; init; }

    /// <summary>Added to the output <c>[out]</c>, beside the base's own bias; null for zeros.</summary>
    public float[]? OutputBias { get; init; }

    /// <summary>Takes the place of the base weight: <c>[out, in]</c>, for an embedding <c>[vocabulary, hidden]</c>, for a norm <c>[1, out]</c>.</summary>
    public HostMatrix? Replacement { get; init; }

    /// <summary>Token rows that take the place of the embedding's (or a tied output head's) rows; null when none.</summary>
    public ReplacedRows? ReplacedRows { get; init; }

    /// <summary>Rank R, 0 without a low-rank part.</summary>
    public int Rank => A?.Rows ?? 0;

    /// <summary>Host bytes of all parts.</summary>
    public long ByteCount =>
        (A?.ByteCount ?? 0) + (B?.ByteCount ?? 0) + (Gate?.ByteCount ?? 0) + (Replacement?.ByteCount ?? 0) + (ReplacedRows?.Values.ByteCount ?? 0)
        + (sizeof(float) * ((long)(OutputScale?.Length ?? 0) + (InputScale?.Length ?? 0) + (OutputBias?.Length ?? 0)));
}
