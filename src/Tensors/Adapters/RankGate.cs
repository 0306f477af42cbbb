namespace InferenceServer.Tensors.Adapters;

/// <summary>
/// The gate of a routed adapter on one module. The ranks of A and B are blocks, one for each adapter that was put together, and each row
/// of the input weighs them anew: <c>g = softmax((Weight x + Bias) / Temperature)</c> over the <see cref="TopK"/> largest scores, 0 for the
/// other blocks; of equal scores the first is the larger. A rank of block i is multiplied by g[i] between A and B.
/// </summary>
public sealed record RankGate
{
    /// <summary>Most blocks of a gate.</summary>
    public const int MaxBlocks = 64;

    /// <summary>Ranks of each block, in the order of A's rows; their sum is R. A block of 0 has a weight and nothing to weigh.</summary>
    public required int[] BlockRanks { get; init; }

    /// <summary>Scores by input <c>[blocks, in]</c>.</summary>
    public required HostMatrix Weight { get; init; }

    /// <summary>Added to the scores <c>[blocks]</c>, or null for zeros.</summary>
    public float[]? Bias { get; init; }

    /// <summary>Divides the scores; above 0.</summary>
    public float Temperature { get; init; } = 1f;

    /// <summary>How many blocks take part in a row, from 1 to all.</summary>
    public required int TopK { get; init; }

    /// <summary>Host bytes of all parts.</summary>
    public long ByteCount => Weight.ByteCount + (sizeof(float) * (long)(Bias?.Length ?? 0)) + (sizeof(int) * (long)BlockRanks.Length);
}
