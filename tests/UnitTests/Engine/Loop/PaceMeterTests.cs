using InferenceServer.Engine.Loop;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Loop;

public sealed class PaceMeterTests
{
    [Fact]
    public void The_delay_follows_the_pace_and_the_queue_within_bounds()
    {
        ManualTime time = new();
        PaceMeter pace = new();
        Assert.Equal(TimeSpan.FromSeconds(1), pace.RetryAfter(100));

        for (int i = 0; i < 20; i++)
        {
            pace.Observe(time.GetTimestamp(), time);
            time.Advance(TimeSpan.FromSeconds(0.5));
        }

        Assert.Equal(0.5, pace.RetryAfter(5).TotalSeconds, 3);
        Assert.Equal(5, pace.RetryAfter(100).TotalSeconds, 3);
        Assert.Equal(TimeSpan.FromMinutes(1), pace.RetryAfter(1_000_000));
    }

    [Fact]
    public void A_fast_queue_still_asks_for_a_little_patience()
    {
        ManualTime time = new();
        PaceMeter pace = new();
        for (int i = 0; i < 3; i++)
        {
            pace.Observe(time.GetTimestamp(), time);
            time.Advance(TimeSpan.FromMilliseconds(1));
        }

        Assert.Equal(TimeSpan.FromMilliseconds(100), pace.RetryAfter(1));
    }
}
