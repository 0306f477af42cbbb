namespace InferenceServer.Tensors.Memory;

/// <summary>
/// Who has which chunk of a device memory that KV blocks and adapters share: numbers only, the memory itself is a backend's. A chunk is as long as
/// <see cref="BlocksPerChunk"/> KV blocks; block b lies in chunk b / BlocksPerChunk. Free chunks go to who asks first, but for these rules:
/// KV blocks take the lowest ones below their limit and adapters the highest; for each side so many are kept that it can always get to its
/// floor; and of what adapters on their way need (<see cref="Wanted"/>) KV blocks take something for running sequences only. Any thread.
/// </summary>
public sealed class ChunkBudget
{
    private readonly Lock _gate = new();
    private readonly ChunkOwner[] _owners; // under _gate
    private int _kvCount; // written under _gate, like the next
    private int _adapterCount;
    private int _kvFloor;
    private int _adapterFloor;
    private int _kvLimit;
    private int _wanted;

    /// <param name="chunkCount">Chunks.</param>
    /// <param name="chunkBytes">Bytes of each.</param>
    /// <param name="blocksPerChunk">KV blocks of each.</param>
    public ChunkBudget(int chunkCount, long chunkBytes, int blocksPerChunk)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(chunkCount, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(chunkBytes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(blocksPerChunk, 1);
        ChunkBytes = chunkBytes;
        BlocksPerChunk = blocksPerChunk;
        _owners = new ChunkOwner[chunkCount];
        _kvLimit = chunkCount;
    }

    /// <summary>
    /// Called when a chunk has another owner, before anybody else can have it; the caller holds locks, and calls nothing of this.
    /// </summary>
    public Action<int, ChunkOwner>? OwnerChanged { get; set; }

    public int ChunkCount => _owners.Length;

    public long ChunkBytes { get; }

    public int BlocksPerChunk { get; }

    /// <summary>Bytes of all chunks.</summary>
    public long ByteCount => ChunkCount * ChunkBytes;

    /// <summary>Chunks of KV blocks, used or not.</summary>
    public int KvCount => Volatile.Read(ref _kvCount);

    /// <summary>Chunks with pages of adapters.</summary>
    public int AdapterCount => Volatile.Read(ref _adapterCount);

    /// <summary>Chunks that nobody has.</summary>
    public int FreeCount => ChunkCount - KvCount - AdapterCount;

    /// <summary>KV blocks can always have so many chunks.</summary>
    public int KvFloor => _kvFloor;

    /// <summary>Adapters can always have so many chunks.</summary>
    public int AdapterFloor => _adapterFloor;

    /// <summary>KV blocks lie in so many of the first chunks.</summary>
    public int KvLimit => _kvLimit;

    /// <summary>Most chunks that KV blocks can ever have.</summary>
    public int MostForKv => Math.Min(_kvLimit, ChunkCount - _adapterFloor);

    /// <summary>Chunks that adapters on their way need, and so want to be free; 0 when none is on its way.</summary>
    public int Wanted
    {
        get => Volatile.Read(ref _wanted);
        set => Volatile.Write(ref _wanted, value);
    }

    /// <summary>Chunks that adapters can take now.</summary>
    public int FreeForAdapters => Math.Max(0, FreeCount - Math.Max(0, _kvFloor - KvCount));

    /// <summary>Whether KV blocks could have a chunk that adapters have now.</summary>
    public bool CanKvGain
    {
        get
        {
            lock (_gate)
            {
                return _adapterCount > _adapterFloor && Array.IndexOf(_owners, ChunkOwner.Adapters, 0, _kvLimit) >= 0;
            }
        }
    }

    /// <summary>Sets what each side can count on; before anybody takes.</summary>
    /// <param name="kvFloor">Chunks that KV blocks can always have.</param>
    /// <param name="adapterFloor">Chunks that adapters can always have.</param>
    /// <param name="kvLimit">KV blocks lie in so many of the first chunks.</param>
    /// <exception cref="ArgumentException">There are not so many.</exception>
    public void Reserve(int kvFloor, int adapterFloor, int kvLimit)
    {
        if (kvFloor < 0 || adapterFloor < 0 || kvFloor > kvLimit || kvLimit > ChunkCount || kvFloor + adapterFloor > ChunkCount)
        {
            throw new ArgumentException(
                $"{kvFloor} chunks for KV blocks, within the first {kvLimit}, and {adapterFloor} for adapters do not go into {ChunkCount}");
        }

        _kvFloor = kvFloor;
        _adapterFloor = adapterFloor;
        _kvLimit = kvLimit;
    }

    /// <summary>Takes a free chunk for KV blocks.</summary>
    /// <param name="isUrgent">For a running sequence: also what adapters wait for.</param>
    /// <param name="chunk">The lowest that is free.</param>
    public bool TryTakeForKv(bool isUrgent, out int chunk)
    {
        lock (_gate)
        {
            chunk = -1;
            int left = FreeCount - 1;
            bool isPromised = left < Wanted && !isUrgent && _kvCount >= _kvFloor;
            if (isPromised || left < Math.Max(0, _adapterFloor - _adapterCount))
            {
                return false;
            }

            chunk = Array.IndexOf(_owners, ChunkOwner.None, 0, _kvLimit);
            if (chunk < 0)
            {
                return false;
            }

            Volatile.Write(ref _kvCount, _kvCount + 1);
            Own(chunk, ChunkOwner.KeyValues);
            return true;
        }
    }

    /// <summary>Gives a chunk of KV blocks back; nothing under way may use it.</summary>
    public void ReturnFromKv(int chunk) => Return(chunk, 1, ChunkOwner.KeyValues, ref _kvCount);

    /// <summary>Takes free chunks side by side for adapters.</summary>
    /// <param name="count">How many.</param>
    /// <param name="first">The first of the highest that are free.</param>
    public bool TryTakeForAdapters(int count, out int first)
    {
        lock (_gate)
        {
            first = -1;
            if (count > FreeForAdapters)
            {
                return false;
            }

            int found = 0;
            for (int chunk = ChunkCount - 1; chunk >= 0 && found < count; chunk--)
            {
                found = _owners[chunk] == ChunkOwner.None ? found + 1 : 0;
                first = chunk;
            }

            if (found < count)
            {
                first = -1;
                return false;
            }

            Volatile.Write(ref _adapterCount, _adapterCount + count);
            for (int chunk = first; chunk < first + count; chunk++)
            {
                Own(chunk, ChunkOwner.Adapters);
            }

            return true;
        }
    }

    /// <summary>Gives chunks of adapters back; nothing under way may use them.</summary>
    public void ReturnFromAdapters(int first, int count) => Return(first, count, ChunkOwner.Adapters, ref _adapterCount);

    private void Return(int first, int count, ChunkOwner owner, ref int total)
    {
        lock (_gate)
        {
            for (int chunk = first; chunk < first + count; chunk++)
            {
                if (_owners[chunk] != owner)
                {
                    throw new InvalidOperationException($"chunk {chunk} is given back as one of {owner} and belongs to {_owners[chunk]}");
                }

                Own(chunk, ChunkOwner.None);
            }

            Volatile.Write(ref total, total - count);
        }
    }

    private void Own(int chunk, ChunkOwner owner)
    {
        _owners[chunk] = owner;
        OwnerChanged?.Invoke(chunk, owner);
    }
}
