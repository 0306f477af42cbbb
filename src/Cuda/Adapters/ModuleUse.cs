namespace InferenceServer.Cuda.Adapters;

/// <summary>
/// Which modules any adapter has changed so far. A step of decodes launches the kernels of these and of no others: that depends neither on the
/// adapters of the step nor, after the first ones, on those that come and go. Any thread.
/// </summary>
internal sealed class ModuleUse
{
    private readonly Lock _gate = new();
    private volatile bool[] _changesOutput = [];
    private volatile bool[] _hasLowRank = [];
    private volatile bool[] _hasGate = [];

    /// <summary>Whether outputs of a linear module were changed.</summary>
    public bool ChangesOutput(int module) => At(_changesOutput, module);

    /// <summary>Whether they were changed by a low-rank part.</summary>
    public bool HasLowRank(int module) => At(_hasLowRank, module);

    /// <summary>Whether a gate weighed its ranks.</summary>
    public bool HasGate(int module) => At(_hasGate, module);

    /// <summary>Adds what an adapter changes.</summary>
    public void Add(CudaPart?[] parts)
    {
        lock (_gate)
        {
            _changesOutput = Merge(_changesOutput, parts, part => part.ChangesOutput);
            _hasLowRank = Merge(_hasLowRank, parts, part => part.DotCount > 0);
            _hasGate = Merge(_hasGate, parts, part => part.Blocks > 0);
        }
    }

    private static bool At(bool[] flags, int module) => (uint)module < (uint)flags.Length && flags[module];

    private static bool[] Merge(bool[] flags, CudaPart?[] parts, Func<CudaPart, bool> has)
    {
        bool[] merged = new bool[Math.Max(flags.Length, parts.Length)];
        flags.CopyTo(merged, 0);
        for (int module = 0; module < parts.Length; module++)
        {
            merged[module] |= parts[module] is CudaPart part && has(part);
        }

        return merged;
    }
}
