using InferenceServer.Cuda;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>The memory of adapters: pages of a few sizes out of shared chunks.</summary>
[Collection(StandInCollection.Name)]
public sealed class PagePoolTests : IDisposable
{
    private const long Chunk = 16 << 10;
    private const int OutOfMemory = 2;
    private static readonly long[] s_sizes = [128, 256, 640, 1408, 4096];

    private readonly CudaBackend _backend = CudaTestBackend.Create();

    public void Dispose()
    {
        StandIn.Reset();
        _backend.Dispose();
    }

    [StandInTheory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Sets_of_any_sizes_come_and_go_without_overlap_and_leave_nothing_behind(int seed)
    {
        const int Chunks = 24;
        Random random = new(seed);
        using PagePool pool = new(_backend.Context.Device, Chunks * Chunk, Chunk);
        List<(PageSet Set, PageRequest[] Requests)> taken = [];
        int refused = 0;
        for (int i = 0; i < 600; i++)
        {
            if (taken.Count > 0 && random.Next(5) < 2)
            {
                int index = random.Next(taken.Count);
                taken[index].Set.Dispose();
                taken.RemoveAt(index);
            }
            else
            {
                PageRequest[] requests = [.. Enumerable.Range(0, random.Next(1, 6)).Select(_ => new PageRequest(s_sizes[random.Next(s_sizes.Length)], random.Next(1, 12)))];
                long used = pool.UsedBytes;
                try
                {
                    taken.Add((pool.Take("set", requests), requests));
                }
                catch (DeviceMemoryException)
                {
                    refused++;
                    Assert.Equal(used, pool.UsedBytes);
                }
            }

            Check(pool, taken, Chunks * Chunk);
        }

        Assert.True(refused > 0, "the pool was never full, so that nothing was shown of it");
        taken.ForEach(one => one.Set.Dispose());
        Assert.Equal(0, pool.UsedBytes);

        // Whatever sizes were there before, all of it serves any one size.
        foreach (long size in s_sizes)
        {
            int perChunk = (int)(Chunk / size);
            using PageSet all = pool.Take("all", [new PageRequest(size, Chunks * perChunk)]);
            Assert.Equal(Chunks * Chunk, pool.HeldBytes);
            Assert.Throws<DeviceMemoryException>(() => pool.Take("one more", [new PageRequest(size, 1)]));
        }
    }

    [StandInFact]
    public void Holes_of_one_rank_are_filled_by_others()
    {
        using PagePool pool = new(_backend.Context.Device, 0, Chunk);
        PageSet[] sets = [.. Enumerable.Range(0, 60).Select(i => pool.Take("first", [new PageRequest(640, 1 + (i % 16)), new PageRequest(256, 1 + (i % 16))]))];
        long held = pool.HeldBytes;
        for (int i = 0; i < sets.Length; i += 2)
        {
            sets[i].Dispose();
        }

        // The ranks of the holes, in other portions.
        int pages = Enumerable.Range(0, 60).Where(i => i % 2 == 0).Sum(i => 1 + (i % 16));
        List<PageSet> others = [];
        for (int left = pages; left > 0; left -= 7)
        {
            others.Add(pool.Take("second", [new PageRequest(640, Math.Min(7, left)), new PageRequest(256, Math.Min(7, left))]));
        }

        Assert.Equal(held, pool.HeldBytes);
        others.ForEach(set => set.Dispose());
    }

    [StandInFact]
    public void Pages_that_lie_side_by_side_are_one_run()
    {
        using PagePool pool = new(_backend.Context.Device, 0, Chunk);

        using PageSet set = pool.Take("runs", [new PageRequest(128, 100), new PageRequest(256, 3)]);

        Assert.Equal(100, Assert.Single(set.RunsOf(0).ToArray()).Count);
        Assert.Equal(3, Assert.Single(set.RunsOf(1).ToArray()).Count);
    }

    [StandInFact]
    public void A_page_larger_than_a_chunk_has_one_of_its_own()
    {
        using PagePool pool = new(_backend.Context.Device, 8 * Chunk, Chunk);
        PageSet small = pool.Take("small", [new PageRequest(128, 1)]);
        PageSet large = pool.Take("large", [new PageRequest((2 * Chunk) + 128, 2)]);
        Assert.Equal(7 * Chunk, pool.HeldBytes);

        large.Dispose();
        small.Dispose();

        // Spare chunks of another size make room.
        using PageSet whole = pool.Take("whole", [new PageRequest(8 * Chunk, 1)]);
        Assert.Equal(8 * Chunk, pool.HeldBytes);
    }

    [StandInFact]
    public void The_limit_and_the_owner_are_named()
    {
        using PagePool pool = new(_backend.Context.Device, 2 * Chunk, Chunk);
        using PageSet first = pool.Take("first", [new PageRequest(4096, 5)]);

        DeviceMemoryException error = Assert.Throws<DeviceMemoryException>(() => pool.Take("fr-legal@1", [new PageRequest(4096, 4)]));

        Assert.Contains("16384 bytes of 'fr-legal@1'", error.Message, StringComparison.Ordinal);
        Assert.Contains("AdapterMemoryBytes 32768", error.Message, StringComparison.Ordinal);
        pool.Take("fits", [new PageRequest(4096, 3)]).Dispose();
    }

    [StandInFact]
    public void A_device_without_memory_half_way_loses_nothing()
    {
        using PagePool pool = new(_backend.Context.Device, 0, Chunk);
        StandIn.Fail(DriverCall.Allocate, 3, OutOfMemory);

        DeviceMemoryException error = Assert.Throws<DeviceMemoryException>(
            () => pool.Take("it-law@2", [new PageRequest(128, 1), new PageRequest(256, 1), new PageRequest(640, 1), new PageRequest(4096, 1)]));

        Assert.Contains("'it-law@2'", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, pool.UsedBytes);
        Assert.Equal(2 * Chunk, pool.HeldBytes);
        pool.Trim();
        Assert.Equal(0, pool.HeldBytes);
    }

    [Theory]
    [InlineData(1, 128)]
    [InlineData(128, 128)]
    [InlineData(2047, 2048)]
    [InlineData(2049, 2304)]
    [InlineData(100_000, 106_496)]
    public void Blocks_of_any_length_round_up_by_an_eighth_at_most(long byteCount, long rounded)
    {
        Assert.Equal(rounded, PagePool.RoundUpCoarsely(byteCount));
    }

    private static void Check(PagePool pool, List<(PageSet Set, PageRequest[] Requests)> taken, long limit)
    {
        List<(ulong Start, ulong End)> spans = [];
        long used = 0;
        foreach ((PageSet set, PageRequest[] requests) in taken)
        {
            for (int i = 0; i < requests.Length; i++)
            {
                int pages = 0;
                foreach (PageRun run in set.RunsOf(i))
                {
                    Assert.Equal(requests[i].PageBytes, run.Chunk.PageBytes);
                    spans.Add((run.Address, run.Address + (ulong)(run.Count * requests[i].PageBytes)));
                    pages += run.Count;
                }

                Assert.Equal(requests[i].Count, pages);
                used += pages * requests[i].PageBytes;
            }
        }

        spans.Sort();
        for (int i = 1; i < spans.Count; i++)
        {
            Assert.True(spans[i].Start >= spans[i - 1].End, "two sets share a page");
        }

        Assert.Equal(used, pool.UsedBytes);
        Assert.True(pool.HeldBytes <= limit);
    }
}
