using InferenceServer.Tensors;
using InferenceServer.Tensors.Quantization;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.UnitTests.Quantization;

public sealed class GroupInt8Tests
{
    [Theory]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(32)]
    public void No_weight_is_off_by_more_than_half_a_scale(int length)
    {
        sbyte[] codes = new sbyte[length];
        for (int seed = 1; seed < 200; seed++)
        {
            float[] weights = HostTensor.Random(1, length, seed, 0.05f).Values;

            float scale = BFloat16.ToSingle(GroupInt8.Encode(weights, codes));

            float largest = weights.Max(Math.Abs);
            Assert.InRange(scale, largest / 127.0001f, largest / 127 * (1 + (1f / 128)));
            for (int i = 0; i < length; i++)
            {
                Assert.InRange(codes[i], -127, 127);
                Assert.InRange(Math.Abs(weights[i] - (codes[i] * (double)scale)), 0, scale * 0.500001);
            }
        }
    }

    [Fact]
    public void Zeros_stay_zeros_and_the_smallest_numbers_do_no_harm()
    {
        sbyte[] codes = [1, 1];

        Assert.Equal(0, GroupInt8.Encode([0f, -0f], codes));
        Assert.Equal([0, 0], codes);
        GroupInt8.Encode([1e-40f, -1e-40f], codes);
        Assert.Equal(codes[0], -codes[1]);
        Assert.InRange(codes[0], 0, 127);
    }
}
