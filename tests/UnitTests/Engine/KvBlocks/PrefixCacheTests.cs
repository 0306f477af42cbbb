using InferenceServer.AdapterStore;
using InferenceServer.Engine.KvBlocks;
using Xunit;

namespace InferenceServer.UnitTests.Engine.KvBlocks;

public sealed class PrefixCacheTests
{
    private static readonly AdapterStack s_a = new([new StackedAdapter(new AdapterId("a", "1"), 1f)]);

    [Fact]
    public void A_chain_is_found_as_far_as_its_tokens_agree()
    {
        PrefixCache cache = new(new KvBlockPool(8), 2);
        PrefixRoot root = cache.OpenRoot(AdapterStack.Base, 0);
        int[] blocks = Fill(cache, root, [1, 2, 3, 4, 5, 6]);

        int[] found = new int[8];
        Assert.Equal(2, cache.Match(root, [1, 2, 3, 4, 5, 7], found, out _, out int kept));
        Assert.Equal(blocks[..2], found[..2]);
        Assert.Equal(0, kept);
        Assert.Equal(0, cache.Match(root, [2, 1, 3, 4], found, out _, out _));
        Assert.Equal(1, cache.Match(root, [1, 2, 3], found, out _, out _));
    }

    [Fact]
    public void The_same_tokens_after_another_beginning_are_another_block()
    {
        PrefixCache cache = new(new KvBlockPool(8), 2);
        PrefixRoot root = cache.OpenRoot(AdapterStack.Base, 0);
        Fill(cache, root, [1, 2, 9, 9]);
        Fill(cache, root, [3, 4, 9, 9]);

        int[] first = new int[2];
        int[] second = new int[2];
        Assert.Equal(2, cache.Match(root, [1, 2, 9, 9], first, out _, out _));
        Assert.Equal(2, cache.Match(root, [3, 4, 9, 9], second, out _, out _));
        Assert.NotEqual(first[1], second[1]);
    }

    [Fact]
    public void Names_digests_and_weights_are_not_glued_together()
    {
        AdapterStack[] stacks =
        [
            new([new StackedAdapter(new AdapterId("a", "b@c"), 1f)]),
            new([new StackedAdapter(new AdapterId("a@b", "c"), 1f)]),
            new([new StackedAdapter(new AdapterId("a", "b"), 1f), new StackedAdapter(new AdapterId("c", ""), 1f)]),
            new([new StackedAdapter(new AdapterId("a", "b"), 1f)]),
            new([new StackedAdapter(new AdapterId("a", "b"), 1.0000001f)]),
            AdapterStack.Base,
        ];

        Assert.Equal(stacks.Length, stacks.Distinct().Count());
        Assert.Equal(s_a, new AdapterStack([new StackedAdapter(new AdapterId("a", "1"), 1f)]));
    }

    [Fact]
    public void The_least_recently_released_block_makes_room_and_is_not_found_again()
    {
        PrefixCache cache = new(new KvBlockPool(4), 1);
        PrefixRoot root = cache.OpenRoot(AdapterStack.Base, 0);
        Release(cache, Fill(cache, root, [1, 2]));
        Release(cache, Fill(cache, root, [3, 4]));
        Assert.Equal(4, cache.KeptCount);

        Assert.True(cache.TryTake(out _));

        int[] found = new int[2];
        Assert.Equal(1, cache.Match(root, [1, 2], found, out _, out _));
        Assert.Equal(2, cache.Match(root, [3, 4], found, out _, out int kept));
        Assert.Equal(2, kept);
    }

    [Fact]
    public void A_block_in_use_is_never_taken()
    {
        PrefixCache cache = new(new KvBlockPool(3), 1);
        PrefixRoot root = cache.OpenRoot(AdapterStack.Base, 0);
        int[] used = Fill(cache, root, [1, 2, 3]);

        Assert.False(cache.TryTake(out _));

        cache.Acquire(used[0]);
        Release(cache, used);
        Assert.Equal(2, cache.AvailableCount);
        Assert.True(cache.TryTake(out int first));
        Assert.True(cache.TryTake(out int second));
        Assert.False(cache.TryTake(out _));
        Assert.DoesNotContain(used[0], new[] { first, second });
    }

    [Fact]
    public void A_child_of_an_evicted_block_is_not_found_under_the_next_holder_of_its_number()
    {
        PrefixCache cache = new(new KvBlockPool(2), 1);
        PrefixRoot root = cache.OpenRoot(AdapterStack.Base, 0);
        int[] chain = Fill(cache, root, [1, 2]);

        // The parent is released first and evicted; its number comes back with other tokens.
        cache.Release(chain[0]);
        Assert.True(cache.TryTake(out int reused));
        Assert.Equal(chain[0], reused);
        cache.Insert(root, root.Node, [8], reused);

        int[] found = new int[2];
        Assert.Equal(1, cache.Match(root, [8, 2], found, out _, out _));
        Assert.Equal(0, cache.Match(root, [1, 2], found, out _, out _));
    }

    [Fact]
    public void Roots_without_users_and_blocks_are_forgotten()
    {
        PrefixCache cache = new(new KvBlockPool(2), 1);
        for (int i = 0; i < 100; i++)
        {
            PrefixRoot root = cache.OpenRoot(new AdapterStack([new StackedAdapter(new AdapterId("a", $"{i}"), 1f)]), 0);
            Release(cache, Fill(cache, root, [1, 2]));
            cache.CloseRoot(root);
        }

        Assert.Equal(1, cache.RootCount);
    }

    [Fact]
    public void Equal_contents_are_kept_once()
    {
        PrefixCache cache = new(new KvBlockPool(4), 1);
        PrefixRoot root = cache.OpenRoot(AdapterStack.Base, 0);
        int[] first = Fill(cache, root, [1, 2]);
        int[] second = Fill(cache, root, [1, 2]);

        Release(cache, second);
        Release(cache, first);

        Assert.Equal(2, cache.KeptCount);
        Assert.Equal(4, cache.AvailableCount);
    }

    private static int[] Fill(PrefixCache cache, PrefixRoot root, int[] tokens)
    {
        long node = root.Node;
        int[] blocks = new int[tokens.Length / cache.BlockSize];
        for (int i = 0; i < blocks.Length; i++)
        {
            Assert.True(cache.TryTake(out blocks[i]));
            node = cache.Insert(root, node, tokens.AsSpan(i * cache.BlockSize, cache.BlockSize), blocks[i]);
        }

        return blocks;
    }

    private static void Release(PrefixCache cache, int[] blocks)
    {
        foreach (int block in blocks.Reverse())
        {
            cache.Release(block);
        }
    }
}
