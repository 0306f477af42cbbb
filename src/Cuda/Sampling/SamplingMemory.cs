namespace InferenceServer.Cuda.Sampling;

/// <summary>Where the sampling kernels find and leave things; addresses are 0 where the step's kind needs none.</summary>
internal readonly record struct SamplingMemory
{
    /// <summary>The <see cref="SamplingTable"/>.</summary>
    public ulong Table { get; init; }

    /// <summary>Logits after rules and temperature, <c>[rows, ScaledStride]</c>.</summary>
    public ulong Scaled { get; init; }

    public int ScaledStride { get; init; }

    /// <summary>32 bytes for each slice of each row.</summary>
    public ulong Slices { get; init; }

    public int SliceCount { get; init; }

    /// <summary>Sums of weights, 8 bytes for each bin of each row.</summary>
    public ulong BinSums { get; init; }

    /// <summary>Numbers of tokens, 4 bytes for each bin of each row.</summary>
    public ulong BinCounts { get; init; }

    /// <summary>Gathered tokens, 8 bytes each.</summary>
    public ulong Listed { get; init; }

    /// <summary>What was drawn, 16 bytes for each row.</summary>
    public ulong Drawn { get; init; }
}
