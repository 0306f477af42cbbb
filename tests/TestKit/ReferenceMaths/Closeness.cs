using System.Globalization;
using Xunit;

namespace InferenceServer.TestKit.ReferenceMaths;

/// <summary>Comparisons of computed f32 with f64 references, and of bits with bits.</summary>
public static class Closeness
{
    /// <summary>The relative L2 distance <c>|actual - expected| / |expected|</c> must not exceed <paramref name="tolerance"/>.</summary>
    public static void AssertClose(double[] expected, float[] actual, double tolerance, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        double difference = 0;
        double size = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
            size += expected[i] * expected[i];
        }

        double distance = size == 0 ? Math.Sqrt(difference) : Math.Sqrt(difference / size);

        // Written so that NaN fails.
        Assert.True(
            distance <= tolerance,
            string.Create(CultureInfo.InvariantCulture, $"{what}: relative L2 distance {distance:E2} exceeds {tolerance:E2}"));
    }

    /// <summary>
    /// No element may be further from its reference than <paramref name="tolerance"/> times its scale: for a sum the sum of the terms'
    /// sizes, because that is what rounding errors are proportional to when the terms cancel.
    /// </summary>
    public static void AssertCloseByScale(double[] expected, double[] scale, float[] actual, double tolerance, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            double error = Math.Abs(actual[i] - expected[i]);
            Assert.True(
                error <= tolerance * scale[i],
                string.Create(CultureInfo.InvariantCulture, $"{what}: element {i} is {actual[i]:R}, not {expected[i]:R} (scale {scale[i]:R})"));
        }
    }

    /// <summary>Every element must have the same bits.</summary>
    public static void AssertSameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (BitConverter.SingleToUInt32Bits(expected[i]) != BitConverter.SingleToUInt32Bits(actual[i]))
            {
                Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"{what}: element {i} is {actual[i]:R}, not {expected[i]:R}"));
            }
        }
    }
}
