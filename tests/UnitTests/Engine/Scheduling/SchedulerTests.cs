using InferenceServer.AdapterStore;
using InferenceServer.Engine.KvBlocks;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Scheduling;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Scheduling;

public sealed class SchedulerTests
{
    private long _nextId;

    [Fact]
    public void A_long_prompt_is_computed_in_chunks_while_decodes_go_on()
    {
        Scheduler scheduler = new(new SchedulerOptions { MaxBatchTokens = 8, MaxRunningSequences = 4 }, 100);
        Sequence decoding = Add(scheduler, 3, 20);
        Step(scheduler);
        Sequence prompt = Add(scheduler, 18, 5);

        List<int> chunks = [];
        while (prompt.NewTokenCount == 0)
        {
            int before = decoding.NewTokenCount;
            foreach (PlannedSequence item in scheduler.Plan().Sequences)
            {
                if (ReferenceEquals(item.Sequence, prompt))
                {
                    chunks.Add(item.TokenCount);
                }
            }

            scheduler.Commit(new int[2]);
            Assert.Equal(before + 1, decoding.NewTokenCount);
        }

        Assert.Equal([7, 7, 4], chunks);
    }

    [Fact]
    public void Rows_of_one_adapter_stack_are_side_by_side_and_the_base_comes_first()
    {
        Scheduler scheduler = new(new SchedulerOptions { MaxBatchTokens = 64, MaxRunningSequences = 9 }, 100);
        AdapterStack[] stacks = [AdapterStack.Base, Stack("a", 1f), Stack("b", 1f)];
        for (int i = 0; i < 9; i++)
        {
            Add(scheduler, 2, 5, i % 3 == 1 ? Stack("a", 1f) : stacks[i % 3]);
        }

        List<AdapterStack> order = [];
        foreach (PlannedSequence item in scheduler.Plan().Sequences)
        {
            if (order.Count == 0 || !order[^1].Equals(item.Sequence.Stack))
            {
                order.Add(item.Sequence.Stack);
            }
        }

        Assert.Equal(3, order.Count);
        Assert.True(order[0].IsBase);
    }

    [Fact]
    public void The_youngest_is_preempted_and_comes_back()
    {
        Scheduler scheduler = new(new SchedulerOptions { KvBlockSize = 4, MaxBatchTokens = 64, PrefixCaching = false }, 5);
        Sequence old = Add(scheduler, 7, 10);
        Sequence young = Add(scheduler, 7, 10);
        Step(scheduler);
        Assert.Equal(SequenceState.Running, young.State);

        while (old.State == SequenceState.Running)
        {
            Step(scheduler);
        }

        Assert.Equal(0, old.Preemptions);
        Assert.True(young.Preemptions > 0);
        RunToEnd(scheduler);
        Assert.Equal(FinishReason.Length, young.FinishReason);
        Assert.Equal(17, young.TokenCount);
    }

    [Fact]
    public void A_sequence_that_does_not_fit_is_passed_only_so_often()
    {
        Scheduler scheduler = new(new SchedulerOptions { KvBlockSize = 1, MaxBatchTokens = 64, MaxSkips = 3, PrefixCaching = false }, 40);
        Sequence running = Add(scheduler, 10, 20);
        Step(scheduler);
        Sequence large = Add(scheduler, 35, 2);
        for (int i = 0; i < 6; i++)
        {
            Add(scheduler, 2, 1);
            Step(scheduler);
        }

        Assert.Equal(SequenceState.Waiting, large.State);
        Assert.Equal(4, scheduler.Waiting.Count);
        Assert.Same(large, scheduler.Waiting[0]);
        while (running.State == SequenceState.Running)
        {
            Step(scheduler);
        }

        Step(scheduler);
        Assert.Equal(SequenceState.Running, large.State);
    }

    [Fact]
    public void A_sequence_that_joins_late_takes_its_place_by_age()
    {
        Scheduler scheduler = new(new SchedulerOptions { MaxRunningSequences = 1 }, 100);
        Sequence waitedForItsAdapter = new(new SequenceId(1), [1, 2], 3, Stack("a", 1f));
        scheduler.Add(new Sequence(new SequenceId(2), [1, 2], 3, AdapterStack.Base));
        scheduler.Add(new Sequence(new SequenceId(3), [1, 2], 3, AdapterStack.Base));

        scheduler.Add(waitedForItsAdapter);

        Step(scheduler);
        Assert.Same(waitedForItsAdapter, Assert.Single(scheduler.Running));
    }

    [Fact]
    public void The_same_prompt_again_computes_only_its_last_block()
    {
        Scheduler scheduler = new(new SchedulerOptions { KvBlockSize = 4 }, 100);
        Add(scheduler, 16, 1);
        RunToEnd(scheduler);

        Sequence again = Add(scheduler, 16, 1);

        // All 16 tokens are in the cache, but the last block is computed anew: the logits of the last token are wanted.
        Assert.Equal(4, scheduler.Plan().TokenCount);
        Assert.Equal(12, again.CachedPromptTokens);
    }

    [Fact]
    public void Other_adapters_other_weights_and_a_merged_base_find_nothing()
    {
        Scheduler scheduler = new(new SchedulerOptions { KvBlockSize = 4 }, 100);
        Add(scheduler, 16, 1, Stack("a", 1f));
        RunToEnd(scheduler);

        foreach (AdapterStack stack in new[] { AdapterStack.Base, Stack("b", 1f), Stack("a", 0.5f), new([new StackedAdapter(new AdapterId("a", "a"), 1f), new StackedAdapter(new AdapterId("a", "a"), 1f)]) })
        {
            Sequence other = Add(scheduler, 16, 1, stack);
            RunToEnd(scheduler);
            Assert.Equal(0, other.CachedPromptTokens);
        }

        scheduler.ChangeBase(1);
        Sequence merged = Add(scheduler, 16, 1, Stack("a", 1f));
        RunToEnd(scheduler);
        Assert.Equal(0, merged.CachedPromptTokens);

        scheduler.ChangeBase(0);
        Sequence unmerged = Add(scheduler, 16, 1, Stack("a", 1f));
        RunToEnd(scheduler);
        Assert.Equal(12, unmerged.CachedPromptTokens);
    }

    [Fact]
    public void What_was_computed_across_a_change_of_the_base_is_not_offered()
    {
        Scheduler scheduler = new(new SchedulerOptions { KvBlockSize = 4, MaxBatchTokens = 8, MaxRunningSequences = 2 }, 100);
        Sequence across = Add(scheduler, 24, 1);
        Step(scheduler);
        scheduler.ChangeBase(1);
        Step(scheduler);
        scheduler.ChangeBase(0);
        RunToEnd(scheduler);
        Assert.Equal(SequenceState.Ended, across.State);

        Sequence after = Add(scheduler, 24, 1);

        // The first chunk of 8 was computed wholly on the unmerged base; what follows was not, or continues what was not.
        RunToEnd(scheduler);
        Assert.Equal(8, after.CachedPromptTokens);
    }

    [Fact]
    public void End_tokens_end_a_sequence_but_not_before_its_minimum()
    {
        Scheduler scheduler = new(new SchedulerOptions(), 100);
        Sequence sequence = new(new SequenceId(0), [1], 10, AdapterStack.Base, [0], minNewTokens: 3);
        scheduler.Add(sequence);

        RunToEnd(scheduler);

        Assert.Equal(FinishReason.Stop, sequence.FinishReason);
        Assert.Equal(3, sequence.NewTokenCount);
    }

    [Fact]
    public void Fit_is_asked_of_an_empty_cache()
    {
        Scheduler scheduler = new(new SchedulerOptions { KvBlockSize = 4 }, 5);

        Assert.True(scheduler.CanEverFit(20));
        Assert.False(scheduler.CanEverFit(21));
    }

    [Fact]
    public void Planning_and_committing_decodes_allocates_nothing()
    {
        Scheduler scheduler = new(new SchedulerOptions { MaxRunningSequences = 8 }, 1000);
        for (int i = 0; i < 8; i++)
        {
            Add(scheduler, 5, 400, i % 2 == 0 ? AdapterStack.Base : Stack("a", 1f));
        }

        int[] tokens = new int[8];
        for (int i = 0; i < 50; i++)
        {
            scheduler.Plan();
            scheduler.Commit(tokens);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 200; i++)
        {
            scheduler.Plan();
            scheduler.Commit(tokens);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static AdapterStack Stack(string name, float weight) => new([new StackedAdapter(new AdapterId(name, name), weight)]);

    private static void RunToEnd(Scheduler scheduler)
    {
        while (!scheduler.IsIdle)
        {
            Step(scheduler);
        }
    }

    private static void Step(Scheduler scheduler) => scheduler.Commit(new int[scheduler.Plan().Sequences.Length]);

    private Sequence Add(Scheduler scheduler, int promptLength, int maxNewTokens, AdapterStack? stack = null)
    {
        Sequence sequence = new(new SequenceId(_nextId++), [.. Enumerable.Range(1, promptLength)], maxNewTokens, stack ?? AdapterStack.Base);
        scheduler.Add(sequence);
        return sequence;
    }
}
