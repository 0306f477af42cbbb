using InferenceServer.Tensors.Quantization;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.UnitTests.Quantization;

public sealed class NormalFloat4Tests
{
    [Fact]
    public void Values_are_the_quantiles_of_the_normal_distribution()
    {
        double[] expected = QuantizedReference.NormalFloat4Values();

        Assert.Equal(16, expected.Length);
        Closeness.AssertCloseByScale(expected, [.. Enumerable.Repeat(1.0, 16)], NormalFloat4.Values.ToArray(), 1e-6, "values");
        Assert.Equal(0f, NormalFloat4.Values[NormalFloat4.ZeroCode]);
    }

    [Fact]
    public void A_number_takes_the_code_of_the_nearest_value_and_on_a_boundary_the_lower()
    {
        float[] values = NormalFloat4.Values.ToArray();
        for (int code = 0; code < 16; code++)
        {
            Assert.Equal(code, NormalFloat4.Encode(values[code]));
        }

        for (int code = 0; code < 15; code++)
        {
            float middle = (float)(((double)values[code] + values[code + 1]) / 2);
            Assert.Equal(code, NormalFloat4.Encode(middle));
            Assert.Equal(code + 1, NormalFloat4.Encode(MathF.BitIncrement(middle)));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(9)]
    [InlineData(63)]
    [InlineData(64)]
    public void A_block_has_the_codes_of_its_weights_over_the_largest(int length)
    {
        float[] weights = HostTensor.Random(1, length, length, 0.02f).Values;
        byte[] codes = new byte[length];

        float scale = NormalFloat4.Encode(weights, codes);

        Assert.Equal(weights.Max(Math.Abs), scale);
        Assert.Equal(weights.Select(weight => NormalFloat4.Encode(weight / scale)), codes);
    }

    [Fact]
    public void Zeros_stay_zeros_and_the_smallest_numbers_do_not_overflow()
    {
        byte[] codes = new byte[3];

        Assert.Equal(0f, NormalFloat4.Encode([0f, -0f, 0f], codes));
        Assert.Equal([7, 7, 7], codes);
        Assert.Equal(float.Epsilon, NormalFloat4.Encode([float.Epsilon, 0f, -float.Epsilon], codes));
        Assert.Equal([15, 7, 0], codes);
    }

    [Fact]
    public void Normal_weights_lose_less_than_in_evenly_spaced_4_bits()
    {
        Random random = new(7);
        double lost = 0;
        double lostEvenly = 0;
        byte[] codes = new byte[NormalFloat4.BlockSize];
        for (int block = 0; block < 200; block++)
        {
            float[] weights = [.. Enumerable.Range(0, NormalFloat4.BlockSize).Select(_ => Normal(random))];
            float scale = NormalFloat4.Encode(weights, codes);
            for (int i = 0; i < weights.Length; i++)
            {
                lost += Math.Pow(weights[i] - (NormalFloat4.Values[codes[i]] * scale), 2);
                lostEvenly += Math.Pow(weights[i] - (MathF.Round(weights[i] / scale * 7) / 7 * scale), 2);
            }
        }

        Assert.True(lost < 0.8 * lostEvenly, $"{lost} against {lostEvenly}");
    }

    private static float Normal(Random random) =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
}
