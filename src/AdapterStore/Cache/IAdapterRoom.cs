namespace InferenceServer.AdapterStore.Cache;

/// <summary>Device memory that adapters share with others, as the cache sees it. Any thread; the cache asks with its lock held.</summary>
public interface IAdapterRoom
{
    /// <summary>Most bytes that adapters can ever have.</summary>
    long MaxBytes { get; }

    /// <summary>Bytes that adapters have or can take now.</summary>
    long LimitBytes { get; }

    /// <summary>Bytes that adapters have, pages that are free in them included.</summary>
    long HeldBytes { get; }

    /// <summary>Bytes that adapters need not give to others.</summary>
    long FloorBytes { get; }

    /// <summary>Bytes that others have and would give at once.</summary>
    long IdleBytes { get; }

    /// <summary>Bytes in which the memory changes hands.</summary>
    long ChunkBytes { get; }

    /// <summary>Called when others have given something, or have nothing left to give; on the thread of those others.</summary>
    Action? Changed { get; set; }

    /// <summary>Says how many bytes adapters on their way need, and so wants them free; 0 when none is on its way.</summary>
    void Want(long byteCount);
}
