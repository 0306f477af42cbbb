using InferenceServer.Engine.Scheduling;
using InferenceServer.Models;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Memory;

namespace InferenceServer.Engine.KvBlocks;

/// <summary>The memory of the KV cache: a fixed number of blocks, or a part of a memory that adapters share.</summary>
internal sealed class KvMemory
{
    private KvMemory(KvCache cache, ChunkBudget? chunks, int blockSize)
    {
        Cache = cache;
        Chunks = chunks;
        int most = chunks is null ? cache.Shape.Blocks : chunks.MostForKv * chunks.BlocksPerChunk;
        int guaranteed = chunks is null ? most : chunks.KvFloor * chunks.BlocksPerChunk;
        BlockCount = most;
        GuaranteedTokens = checked(guaranteed * blockSize);
    }

    /// <summary>The cache; whoever has this disposes of it.</summary>
    public KvCache Cache { get; }

    /// <summary>Who has which part of the shared memory; null where nothing is shared.</summary>
    public ChunkBudget? Chunks { get; }

    /// <summary>Blocks that there can be at once.</summary>
    public int BlockCount { get; }

    /// <summary>Tokens of one sequence that can always be cached.</summary>
    public int GuaranteedTokens { get; }

    /// <summary>Takes the memory.</summary>
    /// <param name="model">The model.</param>
    /// <param name="backend">Where it runs.</param>
    /// <param name="adapterBytes">Most that adapters take; what they can count on, where they share.</param>
    /// <param name="options">How much.</param>
    /// <param name="scheduler">Block size, and how many sequences.</param>
    /// <exception cref="ArgumentException">It is less than one block.</exception>
    /// <exception cref="DeviceMemoryException">The device has too little.</exception>
    public static KvMemory Take(LanguageModel model, IComputeBackend backend, long adapterBytes, EngineOptions options, SchedulerOptions scheduler)
    {
        KvCacheShape block = model.Transformer.KvShape(1, scheduler.KvBlockSize);
        long blocksEach = (model.Transformer.MaxModelLength + scheduler.KvBlockSize - 1) / scheduler.KvBlockSize;

        // Block and token numbers are ints.
        long usable = Math.Min(scheduler.MaxRunningSequences * blocksEach, int.MaxValue / 2 / scheduler.KvBlockSize);
        if (options is { KvBlocks: null, KvCacheBytes: null } && backend is ISharedMemoryBackend sharing)
        {
            long bytes = options.SharedBytes ?? (backend.FreeMemory ?? EngineOptions.DefaultHostBytes) / 10 * 7;
            KvCache shared = sharing.CreateSharedKvCache(block, bytes, out ChunkBudget chunks);
            Reserve(chunks, adapterBytes, blocksEach, usable);
            return new KvMemory(shared, chunks, scheduler.KvBlockSize);
        }

        int count = options.KvBlocks ?? Count(block, backend, adapterBytes, options, usable);
        return new KvMemory(backend.CreateKvCache(block with { Blocks = count }), null, scheduler.KvBlockSize);
    }

    // Each side can count on something: KV blocks on one sequence of the greatest length, adapters on their budget, or on half of a small memory. A
    // small model would never fill the rest: what all running sequences can use at full length is enough.
    private static void Reserve(ChunkBudget chunks, long adapterBytes, long blocksEach, long usable)
    {
        long perChunk = chunks.BlocksPerChunk;
        int kvLimit = (int)Math.Max(1, Math.Min(chunks.ChunkCount, (usable + perChunk - 1) / perChunk));
        int adapterFloor = (int)Math.Min((adapterBytes + chunks.ChunkBytes - 1) / chunks.ChunkBytes, chunks.ChunkCount / 2);
        int kvFloor = (int)Math.Min((blocksEach + perChunk - 1) / perChunk, Math.Min(kvLimit, chunks.ChunkCount - adapterFloor));
        chunks.Reserve(kvFloor, adapterFloor, kvLimit);
    }

    private static int Count(KvCacheShape block, IComputeBackend backend, long adapterBytes, EngineOptions options, long usable)
    {
        long blockBytes = block.BytesPerBlock;
        long bytes = options.KvCacheBytes
            ?? (backend.FreeMemory is long free ? Math.Max(0, free - adapterBytes) / 10 * 7 : EngineOptions.DefaultHostBytes);
        long count = bytes / blockBytes;
        if (count == 0)
        {
            throw new ArgumentException(
                $"{nameof(EngineOptions.KvCacheBytes)} {bytes} is less than one KV block of {blockBytes} bytes"
                + (options.KvCacheBytes is null && backend.FreeMemory is long left
                    ? $": the device has {left} bytes free beside the weights, and the adapters' budget is {adapterBytes}"
                    : ""));
        }

        return (int)Math.Min(count, usable);
    }
}
