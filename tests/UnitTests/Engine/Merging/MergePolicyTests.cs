using InferenceServer.AdapterStore;
using InferenceServer.Engine.Merging;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Merging;

public sealed class MergePolicyTests
{
    private static readonly AdapterId s_a = new("a", "1");
    private static readonly AdapterId s_b = new("b", "2");
    private static readonly DateTimeOffset s_start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_dominant_adapter_is_merged_and_one_that_cooled_down_is_taken_out()
    {
        MergePolicy policy = new(new MergeOptions { MinimumTokens = 100, Cooldown = TimeSpan.FromSeconds(5) });
        policy.Observe(s_start, s_a, 900);
        policy.Observe(s_start, null, 100);

        Assert.Equal(new MergeDecision(true, s_a), policy.Decide(s_start, null));
        policy.Changed(s_start);
        Assert.Equal(MergeDecision.Stay, policy.Decide(s_start.AddSeconds(6), s_a));

        policy.Observe(s_start.AddSeconds(7), s_b, 900);
        Assert.Equal(new MergeDecision(true, null), policy.Decide(s_start.AddSeconds(7), s_a));
    }

    [Fact]
    public void Between_the_two_shares_everything_stays()
    {
        MergePolicy policy = new(new MergeOptions { MinimumTokens = 1 });
        policy.Observe(s_start, s_a, 60);
        policy.Observe(s_start, s_b, 40);

        Assert.Equal(MergeDecision.Stay, policy.Decide(s_start, null));
        Assert.Equal(MergeDecision.Stay, policy.Decide(s_start, s_a));
    }

    [Fact]
    public void Another_dominant_adapter_takes_the_place()
    {
        MergePolicy policy = new(new MergeOptions { MinimumTokens = 1 });
        policy.Observe(s_start, s_b, 1000);

        Assert.Equal(new MergeDecision(true, s_b), policy.Decide(s_start, s_a));
    }

    [Fact]
    public void Few_tokens_and_a_recent_change_decide_nothing()
    {
        MergePolicy policy = new(new MergeOptions { MinimumTokens = 100, Cooldown = TimeSpan.FromSeconds(60) });
        policy.Observe(s_start, s_a, 99);
        Assert.Equal(MergeDecision.Stay, policy.Decide(s_start, null));

        policy.Observe(s_start, s_a, 1);
        policy.Changed(s_start.AddSeconds(-59));
        Assert.Equal(MergeDecision.Stay, policy.Decide(s_start, null));
        Assert.Equal(new MergeDecision(true, s_a), policy.Decide(s_start.AddSeconds(1), null));
    }

    [Fact]
    public void What_is_older_than_the_window_is_forgotten()
    {
        MergePolicy policy = new(new MergeOptions { MinimumTokens = 10, Window = TimeSpan.FromSeconds(10) });
        policy.Observe(s_start, s_a, 1000);
        policy.Observe(s_start.AddSeconds(5), s_b, 100);

        Assert.Equal(new MergeDecision(true, s_a), policy.Decide(s_start.AddSeconds(9), null));
        Assert.Equal(new MergeDecision(true, s_b), policy.Decide(s_start.AddSeconds(11), null));
        Assert.Equal(MergeDecision.Stay, policy.Decide(s_start.AddSeconds(100), null));
    }
}
