using System.Diagnostics;

namespace InferenceServer.Engine.KvBlocks;

/// <summary>
/// Finds full KV blocks again by what is in them. A block's key is the chain that it continues and its own tokens; both are compared
/// exactly, the hash only picks the bucket, so two contents can never be taken for each other. A chain starts at a
/// <see cref="PrefixRoot"/>. Blocks without references stay until space is needed, least recently used first.
/// </summary>
/// <remarks>
/// Every cached block gets a number that is never used again (its node). A child names its parent by node, not by block, so a parent
/// may be evicted first: its children are then unreachable and leave in their turn. All state is in arrays with one entry a block:
/// nothing is allocated after construction but roots.
/// </remarks>
public sealed class PrefixCache
{
    private const int None = -1;

    private readonly KvBlockPool _pool;
    private readonly int _blockSize;
    private readonly bool _isEnabled;

    // Not the same in every process: nobody can prepare prompts that all fall into one bucket.
    private readonly ulong _hashSeed = (ulong)Random.Shared.NextInt64();
    private readonly Dictionary<(AdapterStack Stack, int Epoch), PrefixRoot> _roots = [];

    // By block: what it holds while it is cached (node 0: not cached).
    private readonly int[] _tokens;
    private readonly long[] _nodes;
    private readonly long[] _parents;
    private readonly int[] _bucketOf;
    private readonly int[] _nextInBucket;
    private readonly PrefixRoot?[] _rootOf;
    private readonly int[] _buckets;

    // The kept blocks (cached, without references), from the least to the most recently used.
    private readonly int[] _older;
    private readonly int[] _newer;
    private int _oldest = None;
    private int _newest = None;
    private int _keptCount;
    private long _lastNode;

    /// <param name="pool">The blocks.</param>
    /// <param name="blockSize">Tokens a block.</param>
    /// <param name="isEnabled">False: nothing is ever found or kept.</param>
    public PrefixCache(KvBlockPool pool, int blockSize, bool isEnabled = true)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockSize, 1);
        _pool = pool;
        _blockSize = blockSize;
        _isEnabled = isEnabled;
        int blocks = pool.BlockCount;
        _tokens = new int[checked(blocks * blockSize)];
        _nodes = new long[blocks];
        _parents = new long[blocks];
        _bucketOf = new int[blocks];
        _nextInBucket = new int[blocks];
        _rootOf = new PrefixRoot?[blocks];
        _older = new int[blocks];
        _newer = new int[blocks];
        _buckets = new int[(int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)blocks * 2)];
        Array.Fill(_buckets, None);
    }

    public int BlockSize => _blockSize;

    /// <summary>Block numbers are below this.</summary>
    public int BlockCount => _pool.BlockCount;

    /// <summary>Blocks without references whose contents can still be found.</summary>
    public int KeptCount => _keptCount;

    /// <summary>Blocks that can be taken without asking anybody: free or kept.</summary>
    public int AvailableCount => _pool.FreeCount + _keptCount;

    /// <summary>Blocks with references.</summary>
    public int UsedCount => _pool.UsedCount;

    /// <summary>Blocks that there can be at once.</summary>
    public int MostCount => _pool.MostCount;

    /// <summary>Blocks that there can always be.</summary>
    public int GuaranteedCount => _pool.GuaranteedCount;

    /// <summary>Chunks of a shared memory that can be given to adapters.</summary>
    public int IdleChunks => _pool.IdleChunks;

    /// <summary>Chunks of a shared memory that must be cleared before the next step; whoever has done it empties the list.</summary>
    public List<int> FreshChunks => _pool.Fresh;

    /// <summary>Distinct stacks and base states with users or cached blocks.</summary>
    public int RootCount => _roots.Count;

    /// <summary>The root for a stack on a base state; to be closed by <see cref="CloseRoot"/>.</summary>
    public PrefixRoot OpenRoot(AdapterStack stack, int baseEpoch)
    {
        if (!_roots.TryGetValue((stack, baseEpoch), out PrefixRoot? root))
        {
            root = new PrefixRoot(stack, baseEpoch, ++_lastNode);
            _roots.Add((stack, baseEpoch), root);
        }

        root.Users++;
        return root;
    }

    public void CloseRoot(PrefixRoot root)
    {
        ArgumentNullException.ThrowIfNull(root);
        Debug.Assert(root.Users > 0, "a root is closed once for each time it was opened");
        root.Users--;
        RemoveIfUnused(root);
    }

    /// <summary>Finds the longest cached chain that begins <paramref name="tokens"/>; takes no references.</summary>
    /// <param name="root">Where the chain begins.</param>
    /// <param name="tokens">Whole blocks of these are looked up.</param>
    /// <param name="blocks">Receives the blocks found; its length bounds them.</param>
    /// <param name="node">The last block's node, or the root's.</param>
    /// <param name="keptBlocks">How many of the blocks found have no references now.</param>
    /// <returns>The number of blocks found.</returns>
    public int Match(PrefixRoot root, ReadOnlySpan<int> tokens, Span<int> blocks, out long node, out int keptBlocks)
    {
        ArgumentNullException.ThrowIfNull(root);
        node = root.Node;
        keptBlocks = 0;
        int found = 0;
        while (found < blocks.Length && tokens.Length >= _blockSize)
        {
            int block = Find(node, tokens[.._blockSize], out _);
            if (block == None)
            {
                break;
            }

            node = _nodes[block];
            keptBlocks += _pool.References(block) == 0 ? 1 : 0;
            blocks[found++] = block;
            tokens = tokens[_blockSize..];
        }

        return found;
    }

    /// <summary>Adds a reference to a block found by <see cref="Match"/>.</summary>
    public void Acquire(int block)
    {
        if (_pool.References(block) == 0)
        {
            Unlink(block);
        }

        _pool.AddReference(block);
    }

    /// <summary>
    /// Takes a block with one reference: one that is free, or of free memory shared with adapters, or in place of the least recently used kept one.
    /// </summary>
    public bool TryTake(out int block) => _pool.TryTake(out block) || (_pool.TryGrow(isUrgent: true) && _pool.TryTake(out block)) || TryTakeKept(out block);

    /// <summary>Takes one of the blocks that <see cref="TryReserve"/> has found; nobody else has taken any since.</summary>
    public int TakeReserved()
    {
        bool taken = _pool.TryTake(out int block) || TryTakeKept(out block);
        Debug.Assert(taken, "reserved");
        return block;
    }

    /// <summary>Sees that so many blocks can be taken: of free memory first, then in place of kept ones.</summary>
    /// <param name="count">How many.</param>
    /// <param name="leaving">Kept blocks that will be acquired before.</param>
    public bool TryReserve(int count, int leaving)
    {
        while (_pool.FreeCount < count && _pool.TryGrow(isUrgent: false))
        {
            // A chunk more.
        }

        return count <= AvailableCount - leaving;
    }

    /// <summary>Gives chunks of the shared memory back: those with free blocks only, then those whose kept blocks were used longest ago.</summary>
    /// <returns>How many.</returns>
    public int GiveChunks(int most)
    {
        int given = Math.Min(most, _pool.IdleChunks);
        if (given == 0)
        {
            return 0;
        }

        foreach (int chunk in _pool.FindIdle().Take(given))
        {
            (int first, int end) = _pool.BlocksOf(chunk);
            for (int block = first; block < end; block++)
            {
                if (_nodes[block] != 0)
                {
                    Evict(block);
                }
            }

            _pool.Give(chunk);
        }

        return given;
    }

    /// <summary>Drops a reference. Release a sequence's last block first: then the ends of chains are evicted before their beginnings.</summary>
    public void Release(int block)
    {
        if (_pool.DropReference(block) > 0)
        {
            return;
        }

        if (_nodes[block] == 0)
        {
            _pool.Free(block);
            return;
        }

        LinkNewest(block);
    }

    /// <summary>Makes a full block findable, unless another block with the same contents already is.</summary>
    /// <param name="root">The chain's root.</param>
    /// <param name="parent">Node of the block before it; the root's own for the first block.</param>
    /// <param name="tokens">Its tokens, a whole block of them.</param>
    /// <param name="block">The block, with a reference.</param>
    /// <returns>The node to continue the chain from.</returns>
    public long Insert(PrefixRoot root, long parent, ReadOnlySpan<int> tokens, int block)
    {
        ArgumentNullException.ThrowIfNull(root);
        Debug.Assert(tokens.Length == _blockSize && _pool.References(block) > 0 && root.Users > 0, "a full block in use");
        if (!_isEnabled)
        {
            return parent;
        }

        int existing = Find(parent, tokens, out int bucket);
        if (existing != None)
        {
            return _nodes[existing];
        }

        Debug.Assert(_nodes[block] == 0, "a block is inserted once");
        tokens.CopyTo(_tokens.AsSpan(block * _blockSize));
        _nodes[block] = ++_lastNode;
        _parents[block] = parent;
        _bucketOf[block] = bucket;
        _nextInBucket[block] = _buckets[bucket];
        _buckets[bucket] = block;
        _rootOf[block] = root;
        root.CachedBlocks++;
        return _nodes[block];
    }

    private bool TryTakeKept(out int block)
    {
        if (_oldest == None)
        {
            block = None;
            return false;
        }

        Evict(_oldest);
        return _pool.TryTake(out block);
    }

    private void Evict(int block)
    {
        Unlink(block);
        Forget(block);
        _pool.Free(block);
    }

    private int Find(long parent, ReadOnlySpan<int> tokens, out int bucket)
    {
        ulong hash = _hashSeed ^ ((ulong)parent * 0x9E3779B97F4A7C15UL);
        foreach (int token in tokens)
        {
            hash = (hash ^ (uint)token) * 0xFF51AFD7ED558CCDUL;
            hash ^= hash >> 32;
        }

        bucket = (int)(hash & (uint)(_buckets.Length - 1));
        for (int block = _buckets[bucket]; block != None; block = _nextInBucket[block])
        {
            if (_parents[block] == parent && tokens.SequenceEqual(_tokens.AsSpan(block * _blockSize, _blockSize)))
            {
                return block;
            }
        }

        return None;
    }

    private void Forget(int block)
    {
        int bucket = _bucketOf[block];
        if (_buckets[bucket] == block)
        {
            _buckets[bucket] = _nextInBucket[block];
        }
        else
        {
            int before = _buckets[bucket];
            while (_nextInBucket[before] != block)
            {
                before = _nextInBucket[before];
            }

            _nextInBucket[before] = _nextInBucket[block];
        }

        _nodes[block] = 0;
        PrefixRoot root = _rootOf[block]!;
        _rootOf[block] = null;
        root.CachedBlocks--;
        RemoveIfUnused(root);
    }

    private void RemoveIfUnused(PrefixRoot root)
    {
        if (root is { Users: 0, CachedBlocks: 0 })
        {
            _roots.Remove((root.Stack, root.BaseEpoch));
        }
    }

    private void LinkNewest(int block)
    {
        _older[block] = _newest;
        _newer[block] = None;
        if (_newest == None)
        {
            _oldest = block;
        }
        else
        {
            _newer[_newest] = block;
        }

        _newest = block;
        _keptCount++;
    }

    private void Unlink(int block)
    {
        int older = _older[block];
        int newer = _newer[block];
        if (older == None)
        {
            _oldest = newer;
        }
        else
        {
            _newer[older] = newer;
        }

        if (newer == None)
        {
            _newest = older;
        }
        else
        {
            _older[newer] = older;
        }

        _keptCount--;
    }
}
