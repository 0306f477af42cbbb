using InferenceServer.Tensors.Memory;
using Xunit;

namespace InferenceServer.UnitTests.Engine.KvBlocks;

/// <summary>Who gets which chunk of a shared memory.</summary>
public sealed class ChunkBudgetTests
{
    [Fact]
    public void Kv_blocks_take_the_lowest_chunks_and_adapters_the_highest()
    {
        ChunkBudget chunks = new(10, 4096, 4);

        Assert.True(chunks.TryTakeForKv(isUrgent: false, out int first));
        Assert.True(chunks.TryTakeForKv(isUrgent: false, out int second));
        Assert.True(chunks.TryTakeForAdapters(1, out int high));
        Assert.True(chunks.TryTakeForAdapters(3, out int run));

        Assert.Equal((0, 1, 9, 6), (first, second, high, run));
        Assert.Equal((2, 4, 4), (chunks.KvCount, chunks.AdapterCount, chunks.FreeCount));
        chunks.ReturnFromKv(0);
        Assert.True(chunks.TryTakeForKv(isUrgent: false, out int again));
        Assert.Equal(0, again);
    }

    [Fact]
    public void Each_side_can_always_get_to_its_floor()
    {
        ChunkBudget chunks = new(10, 1, 1);
        chunks.Reserve(kvFloor: 3, adapterFloor: 2, kvLimit: 10);

        int kv = 0;
        while (chunks.TryTakeForKv(isUrgent: true, out _))
        {
            kv++;
        }

        Assert.Equal(8, kv);
        Assert.Equal(8, chunks.MostForKv);
        Assert.True(chunks.TryTakeForAdapters(2, out _));
        Assert.False(chunks.TryTakeForAdapters(1, out _));
        for (int chunk = 0; chunk < kv; chunk++)
        {
            chunks.ReturnFromKv(chunk);
        }

        int adapters = 2;
        while (chunks.TryTakeForAdapters(1, out _))
        {
            adapters++;
        }

        Assert.Equal(7, adapters);
        Assert.Equal(0, chunks.FreeForAdapters);
        Assert.Equal(3, chunks.FreeCount);
    }

    [Fact]
    public void Kv_blocks_stay_below_their_limit()
    {
        ChunkBudget chunks = new(10, 1, 1);
        chunks.Reserve(kvFloor: 1, adapterFloor: 1, kvLimit: 2);

        Assert.True(chunks.TryTakeForKv(isUrgent: false, out _));
        Assert.True(chunks.TryTakeForKv(isUrgent: false, out _));
        Assert.False(chunks.TryTakeForKv(isUrgent: true, out _));
        Assert.False(chunks.CanKvGain);
        Assert.True(chunks.TryTakeForAdapters(8, out _));
        chunks.ReturnFromKv(1);
        Assert.True(chunks.TryTakeForAdapters(1, out _));
        Assert.True(chunks.CanKvGain);
    }

    [Fact]
    public void What_adapters_on_their_way_need_is_left_to_them_but_by_running_sequences()
    {
        ChunkBudget chunks = new(4, 1, 1);
        chunks.Reserve(kvFloor: 1, adapterFloor: 0, kvLimit: 4);
        chunks.Wanted = 3;

        Assert.True(chunks.TryTakeForKv(isUrgent: false, out _), "below its floor");
        Assert.False(chunks.TryTakeForKv(isUrgent: false, out _));
        Assert.True(chunks.TryTakeForKv(isUrgent: true, out _));
        chunks.Wanted = 1;
        Assert.True(chunks.TryTakeForKv(isUrgent: false, out _));
        Assert.False(chunks.TryTakeForKv(isUrgent: false, out _));
    }

    [Fact]
    public void A_run_is_found_between_others_or_nothing_is_taken()
    {
        ChunkBudget chunks = new(6, 1, 1);
        for (int i = 0; i < 6; i++)
        {
            Assert.True(chunks.TryTakeForAdapters(1, out _));
        }

        foreach (int chunk in (int[])[0, 2, 3, 5])
        {
            chunks.ReturnFromAdapters(chunk, 1);
        }

        Assert.False(chunks.TryTakeForAdapters(3, out _));
        Assert.Equal(4, chunks.FreeCount);
        Assert.True(chunks.TryTakeForAdapters(2, out int first));
        Assert.Equal(2, first);
    }

    [Fact]
    public void A_chunk_goes_back_once_and_from_who_had_it()
    {
        ChunkBudget chunks = new(4, 1, 1);
        Assert.True(chunks.TryTakeForKv(isUrgent: false, out int kv));
        Assert.True(chunks.TryTakeForAdapters(1, out int adapter));

        Assert.Throws<InvalidOperationException>(() => chunks.ReturnFromKv(adapter));
        Assert.Throws<InvalidOperationException>(() => chunks.ReturnFromAdapters(kv, 1));
        chunks.ReturnFromKv(kv);
        Assert.Throws<InvalidOperationException>(() => chunks.ReturnFromKv(kv));
        Assert.Equal((0, 1), (chunks.KvCount, chunks.AdapterCount));
    }

    [Theory]
    [InlineData(-1, 0, 4)]
    [InlineData(3, 2, 4)]
    [InlineData(3, 0, 2)]
    [InlineData(0, 0, 5)]
    public void Floors_that_do_not_go_in_are_refused(int kvFloor, int adapterFloor, int kvLimit)
    {
        Assert.Throws<ArgumentException>(() => new ChunkBudget(4, 1, 1).Reserve(kvFloor, adapterFloor, kvLimit));
    }

    [Fact]
    public void Every_change_of_an_owner_is_told_and_the_numbers_agree()
    {
        for (int seed = 0; seed < 100; seed++)
        {
            Random random = new(seed);
            ChunkBudget chunks = new(random.Next(1, 40), 1, 1);
            int kvFloor = random.Next(0, (chunks.ChunkCount / 2) + 1);
            int adapterFloor = random.Next(0, chunks.ChunkCount - kvFloor + 1);
            chunks.Reserve(kvFloor, adapterFloor, random.Next(kvFloor, chunks.ChunkCount + 1));
            ChunkOwner[] owners = new ChunkOwner[chunks.ChunkCount];
            chunks.OwnerChanged = (chunk, owner) =>
            {
                Assert.True(owners[chunk] == ChunkOwner.None || owner == ChunkOwner.None, "a chunk goes from hand to hand by way of nobody's");
                Assert.NotEqual(owners[chunk], owner);
                owners[chunk] = owner;
            };
            List<(int First, int Count)> taken = [];
            for (int i = 0; i < 300; i++)
            {
                chunks.Wanted = random.Next(4) == 0 ? random.Next(chunks.ChunkCount) : chunks.Wanted;
                int held = Array.IndexOf(owners, ChunkOwner.KeyValues);
                switch (random.Next(4))
                {
                    case 0:
                        bool isUrgent = random.Next(2) == 0;
                        int free = chunks.FreeCount;
                        if (chunks.TryTakeForKv(isUrgent, out int chunk))
                        {
                            Assert.Equal(ChunkOwner.KeyValues, owners[chunk]);
                            Assert.InRange(chunk, 0, chunks.KvLimit - 1);
                            Assert.True(isUrgent || free > chunks.Wanted || chunks.KvCount <= kvFloor);
                        }

                        break;
                    case 1 when held >= 0:
                        chunks.ReturnFromKv(held);
                        break;
                    case 2:
                        int count = random.Next(1, 4);
                        if (chunks.TryTakeForAdapters(count, out int first))
                        {
                            taken.Add((first, count));
                        }

                        break;
                    case 3 when taken.Count > 0:
                        (int back, int length) = taken[random.Next(taken.Count)];
                        taken.Remove((back, length));
                        chunks.ReturnFromAdapters(back, length);
                        break;
                }

                Assert.Equal(owners.Count(owner => owner == ChunkOwner.KeyValues), chunks.KvCount);
                Assert.Equal(owners.Count(owner => owner == ChunkOwner.Adapters), chunks.AdapterCount);
                Assert.Equal(taken.Sum(run => run.Count), chunks.AdapterCount);
                Assert.True(chunks.FreeCount >= Math.Max(0, kvFloor - chunks.KvCount) || chunks.AdapterCount <= adapterFloor, $"seed {seed}: KV blocks cannot get to their floor");
                Assert.True(chunks.FreeCount >= Math.Max(0, adapterFloor - chunks.AdapterCount), $"seed {seed}: adapters cannot get to their floor");
            }
        }
    }
}
