namespace InferenceServer.Cuda.Sampling;

/// <summary>What the rows of a step need at most; each kind launches what the one before does, and more.</summary>
internal enum SamplingKind
{
    /// <summary>The best token of every row.</summary>
    Best,

    /// <summary>A draw for some row.</summary>
    Draw,

    /// <summary>Top-k or top-p for some row.</summary>
    Filter,
}
