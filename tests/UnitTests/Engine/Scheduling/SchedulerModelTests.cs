using InferenceServer.AdapterStore;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Scheduling;

/// <summary>Random workloads against a pretend machine; what must hold at every step and at the end.</summary>
public sealed class SchedulerModelTests
{
    private static readonly AdapterStack[] s_stacks =
    [
        AdapterStack.Base,
        new([new StackedAdapter(new AdapterId("a", "1"), 1f)]),
        new([new StackedAdapter(new AdapterId("b", "2"), 1f)]),
        new([new StackedAdapter(new AdapterId("b", "2"), 0.5f)]),
        new([new StackedAdapter(new AdapterId("a", "1"), 1f), new StackedAdapter(new AdapterId("b", "2"), 1f)]),
    ];

    public static TheoryData<int, bool> Workloads()
    {
        TheoryData<int, bool> data = [];
        for (int seed = 0; seed < 60; seed++)
        {
            data.Add(seed, seed % 3 != 0);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Workloads))]
    public void All_end_with_the_tokens_that_they_have_alone_and_no_block_is_lost(int seed, bool prefixCaching)
    {
        Random random = new(seed);
        SchedulerOptions options = new()
        {
            KvBlockSize = random.Next(1, 6),
            MaxBatchTokens = random.Next(8, 40),
            MaxRunningSequences = random.Next(1, 9),
            MaxSkips = random.Next(0, 5),
            PrefixCaching = prefixCaching,
        };
        int blockCount = ((60 + options.KvBlockSize - 1) / options.KvBlockSize) + random.Next(0, 12);
        Scheduler scheduler = new(options, blockCount);
        PretendMachine machine = new(options, blockCount);
        int[][] prefixes = [.. Enumerable.Range(0, 3).Select(_ => RandomTokens(random, 20))];
        List<Sequence> all = [];
        HashSet<Sequence> removed = [];
        int epoch = 0;
        for (int step = 0; step < 5000 && (all.Count < 40 || !scheduler.IsIdle); step++)
        {
            if (all.Count < 40 && random.Next(2) == 0)
            {
                int[] prompt = [.. prefixes[random.Next(3)].Take(random.Next(0, 21)), .. RandomTokens(random, random.Next(1, 20))];
                Sequence sequence = new(new SequenceId(all.Count), prompt, random.Next(1, 21), s_stacks[random.Next(s_stacks.Length)], [7]);
                all.Add(sequence);
                scheduler.Add(sequence);
            }

            if (random.Next(30) == 0 && all.Count > 0)
            {
                Sequence victim = all[random.Next(all.Count)];
                if (victim.State != SequenceState.Ended)
                {
                    removed.Add(victim);
                    scheduler.Remove(victim);
                }
            }

            if (random.Next(25) == 0)
            {
                machine.BaseState = machine.BaseState == 0 ? ++epoch : 0;
                scheduler.ChangeBase(machine.BaseState);
            }

            StepPlan plan = scheduler.Plan();
            Assert.Equal(scheduler.IsIdle, plan.IsEmpty);
            AssertBlocksAreCounted(scheduler);
            scheduler.Commit(machine.Run(plan, scheduler.Running));
        }

        Assert.True(scheduler.IsIdle, "everything ends in the end");
        Assert.Equal(0, scheduler.UsedBlocks);
        foreach (Sequence sequence in all.Where(sequence => !removed.Contains(sequence)))
        {
            List<int> alone = PretendMachine.Alone(sequence.Tokens[..sequence.PromptLength].ToArray(), sequence.MaxNewTokens, sequence.Stack, 7);
            Assert.Equal(alone, sequence.Tokens.ToArray());
            Assert.Equal(alone[^1] == 7 ? FinishReason.Stop : FinishReason.Length, sequence.FinishReason);
        }
    }

    [Fact]
    public void Workloads_like_these_do_preempt_reuse_prefixes_and_skip()
    {
        // The model test proves nothing about what it never reaches.
        SchedulerOptions options = new() { KvBlockSize = 2, MaxBatchTokens = 16, MaxRunningSequences = 8 };
        Scheduler scheduler = new(options, 30);
        PretendMachine machine = new(options, 30);
        for (int i = 0; i < 12; i++)
        {
            scheduler.Add(new Sequence(new SequenceId(i), [1, 2, 3, 4, 5, i % 3], 20, AdapterStack.Base));
        }

        while (!scheduler.IsIdle)
        {
            scheduler.Commit(machine.Run(scheduler.Plan(), scheduler.Running));
        }

        Assert.True(scheduler.Counters.Preemptions > 0);
        Assert.True(scheduler.Counters.PrefixHitTokens > 0);
    }

    private static void AssertBlocksAreCounted(Scheduler scheduler)
    {
        HashSet<int> used = [];
        foreach (Sequence sequence in scheduler.Running)
        {
            used.UnionWith(sequence.Blocks.ToArray());
        }

        Assert.Equal(used.Count, scheduler.UsedBlocks);
        Assert.All(scheduler.Waiting, sequence => Assert.Equal(0, sequence.Blocks.Length));
    }

    private static int[] RandomTokens(Random random, int count)
    {
        int[] tokens = new int[count];
        for (int i = 0; i < count; i++)
        {
            // Few values, so that equal blocks come up often.
            tokens[i] = random.Next(3);
        }

        return tokens;
    }
}
