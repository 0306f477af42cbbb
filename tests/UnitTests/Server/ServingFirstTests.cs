using InferenceServer.Server.Training;
using Xunit;

namespace InferenceServer.UnitTests.Server;

/// <summary>How long training is held up. The clock ticks a second at each look.</summary>
public sealed class ServingFirstTests
{
    [Fact]
    public void It_waits_for_serving_in_proportion_to_the_work_and_no_longer()
    {
        int asked = 0;
        ServingFirst gate = new(() => ++asked > 0, pausePerWork: 4, new TickingClock(), CancellationToken.None);

        gate.Pass();

        // One second of work before it: looks at 1, 2 and 3 seconds find time left, that at 4 none.
        Assert.Equal((4, TimeSpan.FromSeconds(5)), (asked, gate.Waited));
    }

    [Fact]
    public void It_goes_on_as_soon_as_nobody_is_served()
    {
        int asked = 0;
        ServingFirst gate = new(() => ++asked < 2, pausePerWork: 1000, new TickingClock(), CancellationToken.None);

        gate.Pass();

        Assert.Equal(2, asked);
    }

    [Fact]
    public void A_job_that_is_to_stop_waits_no_more()
    {
        using CancellationTokenSource stop = new();
        ServingFirst gate = new(() => true, pausePerWork: 1000, new TickingClock(), stop.Token);
        stop.Cancel();

        gate.Pass();

        Assert.Equal(TimeSpan.FromSeconds(1), gate.Waited);
    }

    [Fact]
    public void Without_a_pause_nobody_is_even_asked()
    {
        ServingFirst gate = new(() => throw new InvalidOperationException("asked"), pausePerWork: 0, new TickingClock(), CancellationToken.None);

        gate.Pass();

        Assert.Equal(TimeSpan.Zero, gate.Waited);
    }

    private sealed class TickingClock : TimeProvider
    {
        private long _seconds;

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => _seconds++;
    }
}
