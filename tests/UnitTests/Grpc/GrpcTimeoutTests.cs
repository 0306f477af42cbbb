using Grpc.Wire;
using Xunit;

namespace InferenceServer.UnitTests.Grpc;

public sealed class GrpcTimeoutTests
{
    [Theory]
    [InlineData("0S", 0L)]
    [InlineData("1H", TimeSpan.TicksPerHour)]
    [InlineData("2M", 2 * TimeSpan.TicksPerMinute)]
    [InlineData("3S", 3 * TimeSpan.TicksPerSecond)]
    [InlineData("4m", 4 * TimeSpan.TicksPerMillisecond)]
    [InlineData("5u", 5 * TimeSpan.TicksPerMicrosecond)]
    [InlineData("700n", 7L)]
    [InlineData("99n", 0L)]
    [InlineData("99999999H", 99_999_999 * TimeSpan.TicksPerHour)]
    public void Digits_and_a_unit_are_a_timeout(string value, long ticks)
    {
        Assert.True(GrpcTimeout.TryParse(value, out TimeSpan timeout));
        Assert.Equal(ticks, timeout.Ticks);
    }

    [Theory]
    [InlineData("")]
    [InlineData("S")]
    [InlineData("1")]
    [InlineData("1s")]
    [InlineData("-1S")]
    [InlineData("+1S")]
    [InlineData(" 1S")]
    [InlineData("1 S")]
    [InlineData("1.5S")]
    [InlineData("1,0S")]
    [InlineData("123456789S")]
    [InlineData("٣S")]
    public void Anything_else_is_none(string value)
    {
        Assert.False(GrpcTimeout.TryParse(value, out _));
    }

    [Theory]
    [InlineData(-1L, "1u")]
    [InlineData(0L, "1u")]
    [InlineData(10L, "1u")]
    [InlineData(99_999_999L * 10, "99999999u")]
    [InlineData(100_000_000L * 10, "100000m")]
    [InlineData(99_999_999_999L * 10, "99999999m")]
    [InlineData(100_000_000_000L * 10, "100000S")]
    [InlineData(long.MaxValue, "99999999S")]
    public void A_timeout_is_written_in_the_finest_unit_that_holds_it(long ticks, string expected)
    {
        Assert.Equal(expected, GrpcTimeout.Format(new TimeSpan(ticks)));
    }

    [Fact]
    public void What_is_written_is_read_back_no_longer_than_it_was()
    {
        Random random = new(1);
        for (int i = 0; i < 1000; i++)
        {
            TimeSpan timeout = new(random.NextInt64(TimeSpan.TicksPerMicrosecond, TimeSpan.FromDays(1000).Ticks));

            Assert.True(GrpcTimeout.TryParse(GrpcTimeout.Format(timeout), out TimeSpan read));

            Assert.InRange(read, timeout - TimeSpan.FromSeconds(1), timeout);
        }
    }
}
