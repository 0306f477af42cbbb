using InferenceServer.Engine.Sampling;
using Xunit;

namespace InferenceServer.UnitTests.Engine.Sampling;

public sealed class PhiloxTests
{
    // Known answers of Random123's kat_vectors for philox4x32, 10 rounds.
    [Theory]
    [InlineData(0UL, 0UL, 0UL, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(ulong.MaxValue, ulong.MaxValue, ulong.MaxValue, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x299f31d0a4093822UL, 0x85a308d3243f6a88UL, 0x0370734413198a2eUL, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Words_are_those_of_the_published_vectors(ulong key, ulong low, ulong high, uint a, uint b, uint c, uint d)
    {
        Assert.Equal((a, b, c, d), Philox.Words(key, low, high));
    }

    [Fact]
    public void Uniform_numbers_lie_in_the_unit_interval_and_fill_it_evenly()
    {
        int[] bins = new int[10];
        for (int i = 0; i < 10000; i++)
        {
            double uniform = Philox.Uniform(42, i);
            Assert.InRange(uniform, 0, 0.9999999999999999);
            bins[(int)(uniform * 10)]++;
        }

        // Chi-square with 9 degrees of freedom: above 27.9 once in a thousand; the seed is fixed.
        Assert.True(bins.Sum(count => (count - 1000) * (count - 1000) / 1000.0) < 27.9);
    }
}
