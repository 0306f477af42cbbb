namespace InferenceServer.Engine.KvBlocks;

/// <summary>
/// Where the chains of one adapter stack begin, for one state of the base weights: keys and values computed while an adapter is merged
/// differ in their last bits from those computed before, so each merge has an epoch of its own; the unmerged base is epoch 0.
/// </summary>
public sealed class PrefixRoot
{
    internal PrefixRoot(AdapterStack stack, int baseEpoch, long node)
    {
        Stack = stack;
        BaseEpoch = baseEpoch;
        Node = node;
    }

    public AdapterStack Stack { get; }

    public int BaseEpoch { get; }

    /// <summary>What the first block of a chain continues.</summary>
    public long Node { get; }

    internal int Users { get; set; }

    internal int CachedBlocks { get; set; }
}
