using InferenceServer.Models.Tokenization.Bpe;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>The merging of ids.</summary>
public sealed class BpeMergerTests
{
    [Fact]
    public void Rows_of_every_length_merge_as_the_definition_says()
    {
        Random random = new(9);
        for (int round = 0; round < 200; round++)
        {
            (Dictionary<ulong, int> ranks, List<ulong> pairs, List<int> merged) = RandomMerges(random);
            BpeMerger merger = new(new PairRanks(pairs), [.. merged]);
            foreach (int length in (int[])[0, 1, 2, 3, 47, 48, 49, 50, 97, 200])
            {
                int[] ids = [.. Enumerable.Range(0, length).Select(_ => random.Next(3))];
                List<int> expected = MergeByDefinition([.. ids], ranks, merged);

                int kept = merger.Merge(ids);

                Assert.Equal(expected, ids[..kept]);
            }
        }
    }

    [Fact]
    public void A_pair_given_twice_has_its_last_rank()
    {
        PairRanks ranks = new([PairRanks.Key(1, 2), PairRanks.Key(3, 4), PairRanks.Key(1, 2)]);

        Assert.Equal(2, ranks.Rank(1, 2));
        Assert.Equal(1, ranks.Rank(3, 4));
        Assert.Equal(PairRanks.None, ranks.Rank(2, 1));
    }

    private static (Dictionary<ulong, int> Ranks, List<ulong> Pairs, List<int> Merged) RandomMerges(Random random)
    {
        Dictionary<ulong, int> ranks = [];
        List<ulong> pairs = [];
        List<int> merged = [];
        for (int tries = 0; tries < 40; tries++)
        {
            ulong pair = PairRanks.Key(random.Next(3 + merged.Count), random.Next(3 + merged.Count));
            if (ranks.TryAdd(pair, pairs.Count))
            {
                pairs.Add(pair);
                merged.Add(3 + merged.Count);
            }
        }

        return (ranks, pairs, merged);
    }

    private static List<int> MergeByDefinition(List<int> ids, Dictionary<ulong, int> ranks, List<int> merged)
    {
        while (true)
        {
            int best = -1;
            int bestRank = int.MaxValue;
            for (int i = 0; i + 1 < ids.Count; i++)
            {
                if (ranks.TryGetValue(PairRanks.Key(ids[i], ids[i + 1]), out int rank) && rank < bestRank)
                {
                    (best, bestRank) = (i, rank);
                }
            }

            if (best < 0)
            {
                return ids;
            }

            ids[best] = merged[bestRank];
            ids.RemoveAt(best + 1);
        }
    }
}
