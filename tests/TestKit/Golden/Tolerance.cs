using System.Numerics.Tensors;
using Xunit;

namespace InferenceServer.TestKit.Golden;

/// <summary>Comparison by relative L2 error: <c>|actual - expected| / |expected|</c>.</summary>
public static class Tolerance
{
    /// <summary>Relative L2 error of two vectors.</summary>
    public static double RelativeL2(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        return TensorPrimitives.Distance(expected, actual) / Math.Max(TensorPrimitives.Norm(expected), 1e-30);
    }

    /// <summary>Fails when the relative L2 error is above the bound, or not a number.</summary>
    public static void AssertClose(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, double bound, string what)
    {
        double error = RelativeL2(expected, actual);
        Assert.True(error <= bound, $"{what}: relative L2 error {error:g3} exceeds {bound:g3}");
    }
}
