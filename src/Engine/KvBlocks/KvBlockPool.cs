using System.Diagnostics;

namespace InferenceServer.Engine.KvBlocks;

/// <summary>
/// The blocks of the KV cache as numbers with a reference count. A block is free, used (one reference or more) or kept: without
/// references, its contents worth finding again. What is kept, and for how long, is the <see cref="PrefixCache"/>'s business.
/// </summary>
public sealed class KvBlockPool
{
    private readonly int[] _references;
    private readonly int[] _free;
    private int _freeCount;

    public KvBlockPool(int blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        _references = new int[blockCount];
        _free = new int[blockCount];
        _freeCount = blockCount;
        for (int i = 0; i < blockCount; i++)
        {
            // Popped from the end: block 0 goes out first, which makes traces easier to read.
            _free[i] = blockCount - 1 - i;
        }
    }

    public int BlockCount => _references.Length;

    public int FreeCount => _freeCount;

    public int References(int block) => _references[block];

    /// <summary>Takes a free block with one reference.</summary>
    public bool TryTake(out int block)
    {
        if (_freeCount == 0)
        {
            block = -1;
            return false;
        }

        block = _free[--_freeCount];
        Debug.Assert(_references[block] == 0, "a free block has no references");
        _references[block] = 1;
        return true;
    }

    public void AddReference(int block) => _references[block]++;

    /// <summary>Drops one reference; the caller puts the block into the free list or keeps it when none is left.</summary>
    /// <returns>References left.</returns>
    public int DropReference(int block)
    {
        Debug.Assert(_references[block] > 0, "a reference to drop");
        return --_references[block];
    }

    /// <summary>Returns a block without references to the free list.</summary>
    public void Free(int block)
    {
        Debug.Assert(_references[block] == 0 && _freeCount < _free.Length, "only an unreferenced block is freed, and once");
        _free[_freeCount++] = block;
    }
}
