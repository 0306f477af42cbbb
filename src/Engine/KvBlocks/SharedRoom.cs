using InferenceServer.AdapterStore.Cache;
using InferenceServer.Engine.Scheduling;
using InferenceServer.Tensors.Memory;

namespace InferenceServer.Engine.KvBlocks;

/// <summary>
/// Lets adapters ask for memory of KV blocks: the cache says what it wants, on any thread, and the loop gives it between two steps, when nothing
/// that uses blocks is under way.
/// </summary>
internal sealed class SharedRoom : IAdapterRoom
{
    private readonly ChunkBudget _chunks;
    private int _idleChunks;
    private long _given;

    public SharedRoom(ChunkBudget chunks) => _chunks = chunks;

    /// <summary>Called when the loop is to look what is wanted; any thread.</summary>
    public Action? Wake { get; set; }

    public Action? Changed { get; set; }

    public long MaxBytes => (_chunks.ChunkCount - _chunks.KvFloor) * _chunks.ChunkBytes;

    public long LimitBytes => (_chunks.AdapterCount + _chunks.FreeForAdapters) * _chunks.ChunkBytes;

    public long HeldBytes => _chunks.AdapterCount * _chunks.ChunkBytes;

    public long FloorBytes => _chunks.AdapterFloor * _chunks.ChunkBytes;

    public long IdleBytes => Volatile.Read(ref _idleChunks) * _chunks.ChunkBytes;

    public long ChunkBytes => _chunks.ChunkBytes;

    /// <summary>Bytes given to adapters so far.</summary>
    public long GivenBytes => Volatile.Read(ref _given) * _chunks.ChunkBytes;

    public void Want(long byteCount)
    {
        int wanted = (int)Math.Min((byteCount + _chunks.ChunkBytes - 1) / _chunks.ChunkBytes, _chunks.ChunkCount);
        if (_chunks.Wanted == wanted)
        {
            return;
        }

        _chunks.Wanted = wanted;
        if (wanted > _chunks.FreeForAdapters)
        {
            Wake?.Invoke();
        }
    }

    /// <summary>Gives what is wanted and idle; the loop's thread, between two steps.</summary>
    public void Give(Scheduler scheduler)
    {
        int missing = _chunks.Wanted - _chunks.FreeForAdapters;
        Give(scheduler, missing);
    }

    /// <summary>Gives all that is idle, since nothing will run any more; the loop's thread.</summary>
    public void GiveAll(Scheduler scheduler) => Give(scheduler, _chunks.ChunkCount);

    private void Give(Scheduler scheduler, int missing)
    {
        int given = missing > 0 ? scheduler.GiveChunks(missing) : 0;
        bool hadSome = _idleChunks > 0;
        Volatile.Write(ref _given, _given + given);
        Volatile.Write(ref _idleChunks, scheduler.IdleChunks);
        if (given > 0 || (missing > 0 && hadSome))
        {
            Changed?.Invoke();
        }
    }
}
