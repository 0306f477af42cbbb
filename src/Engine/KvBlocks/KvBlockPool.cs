using System.Diagnostics;
using InferenceServer.Tensors.Memory;

namespace InferenceServer.Engine.KvBlocks;

/// <summary>
/// The blocks of the KV cache as numbers with a reference count. A block is free, used (one reference or more) or kept: without
/// references, its contents worth finding again. What is kept, and for how long, is the <see cref="PrefixCache"/>'s business. The lowest free block
/// goes out first. Where blocks share their memory with adapters, those of chunks that the pool does not have are neither free nor anything else.
/// </summary>
public sealed class KvBlockPool
{
    private readonly int[] _references;
    private readonly BlockSet _free;
    private readonly ChunkBudget? _chunks;

    // By chunk of a shared memory.
    private readonly bool[] _isHeld = [];
    private readonly int[] _usedIn = [];
    private readonly long[] _usedAt = [];
    private readonly List<int> _fresh = [];
    private int _heldCount;
    private int _idleCount;
    private long _uses;

    public KvBlockPool(int blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        _references = new int[blockCount];
        _free = new BlockSet(blockCount);
        for (int i = 0; i < blockCount; i++)
        {
            _free.Add(i);
        }
    }

    /// <summary>A pool that shares its memory with adapters; takes its floor at once.</summary>
    public KvBlockPool(ChunkBudget chunks)
    {
        ArgumentNullException.ThrowIfNull(chunks);
        _chunks = chunks;
        int blocks = checked(chunks.KvLimit * chunks.BlocksPerChunk);
        _references = new int[blocks];
        _free = new BlockSet(blocks);
        _isHeld = new bool[chunks.KvLimit];
        _usedIn = new int[chunks.KvLimit];
        _usedAt = new long[chunks.KvLimit];
        _fresh.EnsureCapacity(chunks.KvLimit);
        while (_heldCount < chunks.KvFloor)
        {
            if (!TryGrow(isUrgent: true))
            {
                throw new InvalidOperationException($"only {_heldCount} of the {chunks.KvFloor} chunks that belong to KV blocks are free");
            }
        }
    }

    /// <summary>Numbers are below this; not all of them need to be had.</summary>
    public int BlockCount => _references.Length;

    public int FreeCount => _free.Count;

    /// <summary>Blocks that there can be at once, when adapters want no more than their floor.</summary>
    public int MostCount => _chunks is null ? BlockCount : _chunks.MostForKv * _chunks.BlocksPerChunk;

    /// <summary>Blocks that there can always be.</summary>
    public int GuaranteedCount => _chunks is null ? BlockCount : _chunks.KvFloor * _chunks.BlocksPerChunk;

    /// <summary>Blocks with references.</summary>
    public int UsedCount { get; private set; }

    /// <summary>Chunks above the floor without a used block: they can be given to adapters.</summary>
    public int IdleChunks => _chunks is null ? 0 : Math.Max(0, Math.Min(_idleCount, _heldCount - _chunks.KvFloor));

    /// <summary>Chunks that were taken and have not been cleared since.</summary>
    public List<int> Fresh => _fresh;

    public int References(int block) => _references[block];

    /// <summary>Takes the lowest free block with one reference.</summary>
    public bool TryTake(out int block)
    {
        if (_free.Count == 0)
        {
            block = -1;
            return false;
        }

        block = _free.Lowest();
        _free.Remove(block);
        AddReference(block);
        return true;
    }

    public void AddReference(int block)
    {
        if (_references[block]++ == 0)
        {
            CountUse(block, 1);
        }
    }

    /// <summary>Drops one reference; the caller puts the block into the free list or keeps it when none is left.</summary>
    /// <returns>References left.</returns>
    public int DropReference(int block)
    {
        Debug.Assert(_references[block] > 0, "a reference to drop");
        if (--_references[block] == 0)
        {
            CountUse(block, -1);
        }

        return _references[block];
    }

    /// <summary>Returns a block without references to the free list.</summary>
    public void Free(int block)
    {
        Debug.Assert(_references[block] == 0 && !_free.Contains(block), "only an unreferenced block is freed, and once");
        _free.Add(block);
    }

    /// <summary>Takes a chunk more of the shared memory, if one is free; false without one.</summary>
    /// <param name="isUrgent">For a running sequence: also what adapters wait for.</param>
    public bool TryGrow(bool isUrgent)
    {
        if (_chunks is null || !_chunks.TryTakeForKv(isUrgent, out int chunk))
        {
            return false;
        }

        _isHeld[chunk] = true;
        _heldCount++;
        _idleCount++;
        _fresh.Add(chunk);
        for (int block = FirstBlock(chunk); block < FirstBlock(chunk + 1); block++)
        {
            _free.Add(block);
        }

        return true;
    }

    /// <summary>
    /// Chunks without a used block, in the order in which they are best given: those with free blocks only, the highest first, then those that were
    /// used longest ago.
    /// </summary>
    public List<int> FindIdle() =>
    [
        .. Enumerable.Range(0, _isHeld.Length)
            .Where(chunk => _isHeld[chunk] && _usedIn[chunk] == 0)
            .OrderBy(chunk => IsFree(chunk) ? long.MinValue + _isHeld.Length - chunk : _usedAt[chunk]),
    ];

    /// <summary>The blocks of a chunk.</summary>
    public (int First, int End) BlocksOf(int chunk) => (FirstBlock(chunk), FirstBlock(chunk + 1));

    /// <summary>Gives a chunk to whoever wants it; its blocks are all free, and nothing under way uses them.</summary>
    public void Give(int chunk)
    {
        Debug.Assert(IdleChunks > 0 && _usedIn[chunk] == 0 && IsFree(chunk), "an idle chunk above the floor");
        for (int block = FirstBlock(chunk); block < FirstBlock(chunk + 1); block++)
        {
            _free.Remove(block);
        }

        _isHeld[chunk] = false;
        _heldCount--;
        _idleCount--;
        _fresh.Remove(chunk);
        _chunks!.ReturnFromKv(chunk);
    }

    private int FirstBlock(int chunk) => chunk * _chunks!.BlocksPerChunk;

    private bool IsFree(int chunk)
    {
        for (int block = FirstBlock(chunk); block < FirstBlock(chunk + 1); block++)
        {
            if (!_free.Contains(block))
            {
                return false;
            }
        }

        return true;
    }

    private void CountUse(int block, int change)
    {
        UsedCount += change;
        if (_chunks is null)
        {
            return;
        }

        int chunk = block / _chunks.BlocksPerChunk;
        ref int used = ref _usedIn[chunk];
        _usedAt[chunk] = ++_uses;
        _idleCount -= used == 0 ? 1 : 0;
        used += change;
        _idleCount += used == 0 ? 1 : 0;
    }
}
