namespace InferenceServer.Cpu.Kernels;

/// <summary>What a multiplication does with the values that its target holds.</summary>
internal enum PanelMode
{
    /// <summary>Overwrites them.</summary>
    Overwrite,

    /// <summary>Goes on from them: they are the sum over the k before. The result is the same as in one piece.</summary>
    Resume,

    /// <summary>Sums from zero and adds the finished sum to them.</summary>
    Add,
}
