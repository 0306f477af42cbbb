using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Memory;

namespace InferenceServer.Tensors;

/// <summary>
/// What a backend with a memory of its own can do beside <see cref="IComputeBackend"/>: keep the serving KV cache and the adapters in one memory,
/// so that each takes what the other leaves.
/// </summary>
public interface ISharedMemoryBackend
{
    /// <summary>
    /// Takes the memory and makes the cache whose blocks are chunks of it. Until the cache is disposed of there can be no other such cache.
    /// </summary>
    /// <param name="shape">Geometry; the number of blocks is the backend's, as many as go into the memory.</param>
    /// <param name="byteCount">Bytes, rounded down to whole chunks.</param>
    /// <param name="chunks">Who has which chunk. KV blocks may be used in those that were taken for them and cleared.</param>
    /// <exception cref="DeviceMemoryException">The device has not so many bytes, or they hold no chunk.</exception>
    KvCache CreateSharedKvCache(KvCacheShape shape, long byteCount, out ChunkBudget chunks);

    /// <summary>Zeroes KV blocks, in order with the operations: before a step first uses a chunk that was taken.</summary>
    void ClearBlocks(KvCache cache, int firstBlock, int count);

    /// <summary>
    /// As <see cref="IComputeBackend.CreateAdapter"/>, in the shared memory if there is one; an adapter made by that one takes memory of its own.
    /// </summary>
    /// <exception cref="DeviceMemoryException">It does not fit; <see cref="DeviceMemoryException.IsShared"/> tells whether others could make room.</exception>
    DeviceAdapter CreateSharedAdapter(AdapterWeights weights, WeightFormat format);
}
