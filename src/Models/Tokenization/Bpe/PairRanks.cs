using System.Numerics;

namespace InferenceServer.Models.Tokenization.Bpe;

/// <summary>
/// Pair of neighbouring ids to the rank of their merge: an open-addressing table, because every merge of every piece asks it.
/// </summary>
internal sealed class PairRanks
{
    /// <summary>The rank of a pair that does not merge; larger than every rank.</summary>
    public const int None = int.MaxValue;

    private const ulong Empty = ulong.MaxValue;

    private readonly ulong[] _keys;
    private readonly int[] _ranks;
    private readonly int _shift;

    /// <param name="pairs">The pair of rank i at index i, made by <see cref="Key"/>; a pair given twice has its last rank.</param>
    public PairRanks(IReadOnlyList<ulong> pairs)
    {
        // At most half full, so that a probe for an absent pair ends soon.
        uint capacity = BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, pairs.Count * 2L));
        _shift = 64 - BitOperations.Log2(capacity);
        _keys = new ulong[capacity];
        _ranks = new int[capacity];
        Array.Fill(_keys, Empty);
        for (int rank = 0; rank < pairs.Count; rank++)
        {
            int slot = Slot(pairs[rank]);
            _keys[slot] = pairs[rank];
            _ranks[slot] = rank;
        }
    }

    /// <summary>Both ids in one number.</summary>
    public static ulong Key(int left, int right)
    {
        return ((ulong)(uint)left << 32) | (uint)right;
    }

    /// <summary>The rank of the merge of <paramref name="left"/> and <paramref name="right"/>, or <see cref="None"/>.</summary>
    public int Rank(int left, int right)
    {
        ulong key = Key(left, right);
        int slot = Slot(key);
        return _keys[slot] == key ? _ranks[slot] : None;
    }

    /// <summary>The slot that holds the key, or the empty one where it would go.</summary>
    private int Slot(ulong key)
    {
        int mask = _keys.Length - 1;
        int slot = (int)((key * 0x9E3779B97F4A7C15UL) >> _shift);
        while (_keys[slot] != key && _keys[slot] != Empty)
        {
            slot = (slot + 1) & mask;
        }

        return slot;
    }
}
