using InferenceServer.Cuda;
using InferenceServer.Cuda.KeyValues;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Memory;
using InferenceServer.Tensors.Sampling;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.UnitTests.Engine;

/// <summary>The CUDA backend on the stand-in; chunks of a shared memory that nobody has are illegal to touch.</summary>
internal sealed class SharedCudaBackend(CudaBackend inner) : HookedBackend(inner), ISamplingBackend, ISharedMemoryBackend
{
    /// <summary>Who has what; null until there is a shared memory.</summary>
    public ChunkBudget? Chunks { get; private set; }

    public ChunkGuard? Guard { get; private set; }

    public static SharedCudaBackend Create()
    {
        CudaOptions options = new() { LibraryPath = StandIn.Folder, Products = CudaProducts.Exact, KeyValues = WeightFormat.F32 };
        return CudaBackend.TryCreate(options, out CudaBackend? backend, out string reason)
            ? new SharedCudaBackend(backend)
            : throw new InvalidOperationException(reason);
    }

    public void Sample(TensorView logits, SamplingBatch batch, Span<SampledToken> tokens) => inner.Sample(logits, batch, tokens);

    public KvCache CreateSharedKvCache(KvCacheShape shape, long byteCount, out ChunkBudget chunks)
    {
        KvCache cache = inner.CreateSharedKvCache(shape, byteCount, out chunks);
        Chunks = chunks;
        Guard = new ChunkGuard(chunks, CudaKvCache.Of(cache).Buffer.Address);
        return cache;
    }

    public void ClearBlocks(KvCache cache, int firstBlock, int count) => inner.ClearBlocks(cache, firstBlock, count);

    public DeviceAdapter CreateSharedAdapter(AdapterWeights weights, WeightFormat format)
    {
        OnCreateAdapter?.Invoke(weights.Label);
        return inner.CreateSharedAdapter(weights, format);
    }
}
