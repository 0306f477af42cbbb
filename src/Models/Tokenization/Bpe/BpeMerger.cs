using System.Buffers;

namespace InferenceServer.Models.Tokenization.Bpe;

/// <summary>
/// Applies the merges to a row of ids: always the pair of lowest rank, the leftmost of equals, until none is left.
/// </summary>
internal sealed class BpeMerger
{
    /// <summary>Up to here looking for the lowest rank in a row of numbers beats a heap.</summary>
    private const int ScanLimit = 48;

    private readonly PairRanks _ranks;
    private readonly int[] _mergedIds;

    /// <param name="ranks">The rank of each pair.</param>
    /// <param name="mergedIds">The id that the merge of rank i makes, at index i.</param>
    public BpeMerger(PairRanks ranks, int[] mergedIds)
    {
        _ranks = ranks;
        _mergedIds = mergedIds;
    }

    /// <summary>Merges in place and returns how many ids are left at the front of <paramref name="ids"/>.</summary>
    public int Merge(Span<int> ids)
    {
        return ids.Length switch
        {
            < 2 => ids.Length,
            <= ScanLimit => MergeByScan(ids),
            _ => MergeByHeap(ids),
        };
    }

    private int MergeByScan(Span<int> ids)
    {
        Span<int> ranks = stackalloc int[ScanLimit];
        int count = ids.Length;
        for (int i = 0; i + 1 < count; i++)
        {
            ranks[i] = _ranks.Rank(ids[i], ids[i + 1]);
        }

        while (count > 1)
        {
            int best = 0;
            for (int i = 1; i + 1 < count; i++)
            {
                if (ranks[i] < ranks[best])
                {
                    best = i;
                }
            }

            if (ranks[best] == PairRanks.None)
            {
                break;
            }

            ids[best] = _mergedIds[ranks[best]];
            ids[(best + 2)..count].CopyTo(ids[(best + 1)..]);
            ranks[(best + 1)..(count - 1)].CopyTo(ranks[best..]);
            count--;
            if (best > 0)
            {
                ranks[best - 1] = _ranks.Rank(ids[best - 1], ids[best]);
            }

            if (best + 1 < count)
            {
                ranks[best] = _ranks.Rank(ids[best], ids[best + 1]);
            }
        }

        return count;
    }

    private int MergeByHeap(Span<int> ids)
    {
        int count = ids.Length;
        int[] previous = ArrayPool<int>.Shared.Rent(count);
        int[] next = ArrayPool<int>.Shared.Rent(count);
        int[] rankAt = ArrayPool<int>.Shared.Rent(count);
        try
        {
            // The position is part of the priority: of equal ranks the leftmost comes first.
            PriorityQueue<int, ulong> queue = new(count);
            for (int i = 0; i < count; i++)
            {
                previous[i] = i - 1;
                next[i] = i + 1;
                SetRank(i, ids);
            }

            while (queue.TryDequeue(out int left, out ulong priority))
            {
                int rank = (int)(priority >> 32);
                if (rankAt[left] != rank)
                {
                    // The pair that stood here has been changed by another merge since.
                    continue;
                }

                int right = next[left];
                ids[left] = _mergedIds[rank];
                rankAt[right] = PairRanks.None;
                next[left] = next[right];
                if (next[left] < count)
                {
                    previous[next[left]] = left;
                }

                SetRank(left, ids);
                if (previous[left] >= 0)
                {
                    SetRank(previous[left], ids);
                }
            }

            int kept = 0;
            for (int i = 0; i < count; i = next[i])
            {
                ids[kept++] = ids[i];
            }

            return kept;

            void SetRank(int position, Span<int> row)
            {
                int right = next[position];
                rankAt[position] = right < count ? _ranks.Rank(row[position], row[right]) : PairRanks.None;
                if (rankAt[position] != PairRanks.None)
                {
                    queue.Enqueue(position, ((ulong)rankAt[position] << 32) | (uint)position);
                }
            }
        }
        finally
        {
            ArrayPool<int>.Shared.Return(previous);
            ArrayPool<int>.Shared.Return(next);
            ArrayPool<int>.Shared.Return(rankAt);
        }
    }
}
