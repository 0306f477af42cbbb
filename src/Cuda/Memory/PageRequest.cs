namespace InferenceServer.Cuda.Memory;

/// <summary>Pages of one size.</summary>
/// <param name="PageBytes">Size of each, rounded as the pool does (<see cref="PagePool.RoundUp"/>).</param>
/// <param name="Count">How many; they need not lie side by side.</param>
internal readonly record struct PageRequest(long PageBytes, int Count);
