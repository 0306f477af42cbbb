namespace InferenceServer.Cpu.Threading;

/// <summary>
/// Work cut into items that any worker may take in any order. An operation keeps one instance and sets its fields before each run,
/// so that nothing is allocated.
/// </summary>
internal abstract class ParallelJob
{
    /// <summary>Does one item.</summary>
    /// <param name="item">Number of the item.</param>
    /// <param name="worker">Number of the worker, for its scratch; 0 is the caller.</param>
    public abstract void Execute(int item, int worker);
}
