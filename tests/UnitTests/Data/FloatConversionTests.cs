using InferenceServer.Tensors;
using Xunit;

namespace InferenceServer.UnitTests.Data;

public sealed class FloatConversionTests
{
    [Theory]
    [InlineData(DType.F32)]
    [InlineData(DType.F16)]
    [InlineData(DType.BF16)]
    public void The_largest_magnitude_is_found_at_any_place_and_nothing_hides_what_is_not_finite(DType type)
    {
        foreach (int count in (int[])[0, 1, 7, 31, 32, 33, 64, 97])
        {
            float[] values = [.. Enumerable.Range(0, count).Select(i => ((i % 5) - 2) / 4f)];
            Assert.Equal(values.Select(Math.Abs).DefaultIfEmpty(0).Max(), Largest(type, values));
            for (int at = 0; at < count; at++)
            {
                foreach (float value in (float[])[-8, 8, float.PositiveInfinity, float.NegativeInfinity])
                {
                    float[] changed = [.. values];
                    changed[at] = value;
                    Assert.Equal(Math.Abs(value), Largest(type, changed));
                }

                float[] undefined = [.. values];
                undefined[at] = float.NaN;
                Assert.False(float.IsFinite(Largest(type, undefined)));
            }
        }
    }

    private static float Largest(DType type, float[] values)
    {
        byte[] bytes = new byte[values.Length * type.ByteSize()];
        FloatConversion.FromSingle(type, values, bytes);
        return FloatConversion.LargestMagnitude(type, bytes);
    }
}
