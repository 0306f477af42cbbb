namespace InferenceServer.Models.Tokenization.Bpe;

/// <summary>
/// Remembers the ids of short pieces. Direct-mapped: a new piece replaces the one in its slot, so the size is bounded and reading and
/// writing from many threads needs no lock (an entry is immutable and a reference is written at once).
/// </summary>
internal sealed class PieceCache
{
    /// <summary>Longer pieces are rarely seen twice and are not kept.</summary>
    public const int MaxPieceLength = 64;

    private const int Slots = 1 << 15;

    private readonly Entry?[] _entries = new Entry?[Slots];

    public int[]? Find(ReadOnlySpan<char> piece)
    {
        Entry? entry = Volatile.Read(ref _entries[SlotOf(piece)]);
        return entry is not null && piece.SequenceEqual(entry.Piece) ? entry.Ids : null;
    }

    public void Keep(ReadOnlySpan<char> piece, ReadOnlySpan<int> ids)
    {
        Volatile.Write(ref _entries[SlotOf(piece)], new Entry(piece.ToString(), ids.ToArray()));
    }

    private static int SlotOf(ReadOnlySpan<char> piece)
    {
        // The runtime's string hash is seeded per process: nobody can aim at one slot.
        return string.GetHashCode(piece) & (Slots - 1);
    }

    private sealed record Entry(string Piece, int[] Ids);
}
