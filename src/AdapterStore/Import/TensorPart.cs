namespace InferenceServer.AdapterStore.Import;

/// <summary>What a tensor of an adapter file is to its module.</summary>
internal enum TensorPart
{
    LowRankA,
    LowRankB,
    LowRankBias,
    Magnitude,
    EmbeddingA,
    EmbeddingB,
    RankScale,
    GateWeight,
    GateBias,
    Ia3Vector,
    VeraOutput,
    VeraRank,
    BaseWeight,
    BaseBias,
    Weight,
    Bias,
    TokenRows,
}
