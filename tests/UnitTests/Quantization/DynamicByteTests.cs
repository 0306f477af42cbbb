using InferenceServer.Tensors.Quantization;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.UnitTests.Quantization;

public sealed class DynamicByteTests
{
    [Fact]
    public void Numbers_are_those_of_the_dynamic_map()
    {
        double[] expected = QuantizedReference.DynamicByteValues();

        Assert.Equal(256, expected.Length);
        Closeness.AssertCloseByScale(expected, [.. expected.Select(Math.Abs)], DynamicByte.Values.ToArray(), 1e-7, "numbers");
    }

    [Fact]
    public void Every_number_has_a_code_of_its_own_and_every_other_takes_the_nearest()
    {
        float[] numbers = DynamicByte.Values.ToArray();
        for (int code = 0; code < 256; code++)
        {
            Assert.Equal(code, DynamicByte.Encode(numbers[code]));
        }

        Random random = new(3);
        for (int i = 0; i < 2000; i++)
        {
            // All sizes, from far below the smallest number to the largest.
            float x = (float)(Math.Pow(10, -7 * random.NextDouble()) * (random.Next(2) == 0 ? 1 : -1));
            double best = numbers.Min(number => Math.Abs((double)number - x));
            Assert.Equal(best, Math.Abs((double)numbers[DynamicByte.Encode(x)] - x), 1e-8);
        }
    }
}
