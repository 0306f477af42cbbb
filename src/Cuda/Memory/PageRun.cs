namespace InferenceServer.Cuda.Memory;

/// <summary>Pages side by side.</summary>
/// <param name="Chunk">Where they lie.</param>
/// <param name="First">Index of the first.</param>
/// <param name="Count">How many.</param>
internal readonly record struct PageRun(PageChunk Chunk, int First, int Count)
{
    /// <summary>Device address of the first page.</summary>
    public ulong Address => Chunk.Memory.Address + ((ulong)First * (ulong)Chunk.PageBytes);
}
