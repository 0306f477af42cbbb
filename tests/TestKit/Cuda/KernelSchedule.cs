namespace InferenceServer.TestKit.Cuda;

/// <summary>Who goes first among a block's threads; a kernel without races gives the same bits under all of them.</summary>
public enum KernelSchedule
{
    /// <summary>Thread 0 first, each as far as it can; background copies happen at the wait for them.</summary>
    LaneOrder,

    /// <summary>The last thread and the last block first; background copies happen at once.</summary>
    Reverse,

    /// <summary>By chance, with a fixed seed.</summary>
    Shuffled,

    /// <summary>One warp as far as it can before the next starts; background copies happen at once.</summary>
    GreedyForward,

    /// <summary>The same, the last warp first; background copies happen at the wait for them.</summary>
    GreedyBackward,
}
