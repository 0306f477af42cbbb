using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Simd;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

public sealed unsafe class VectorMathTests
{
    private const int Samples = 200_000;

    [Fact]
    public void Exp_is_within_2e7_of_the_exact_value_in_every_width() => InEveryWidth(
        Function.Exp, -87f, 88f, Math.Exp);

    [Fact]
    public void Tanh_is_within_2e7_of_the_exact_value_in_every_width()
    {
        InEveryWidth(Function.Tanh, -12f, 12f, Math.Tanh);
        InEveryWidth(Function.Tanh, -1e-3f, 1e-3f, Math.Tanh);
    }

    [Fact]
    public void Erf_is_within_2e7_of_the_exact_value_in_every_width()
    {
        InEveryWidth(Function.Erf, -6f, 6f, Reference.Erf);
        InEveryWidth(Function.Erf, -1e-3f, 1e-3f, Reference.Erf);
    }

    [Theory]
    [InlineData(float.NegativeInfinity, 0f)]
    [InlineData(-1000f, 0f)]
    [InlineData(0f, 1f)]
    [InlineData(float.NaN, float.NaN)]
    public void Exp_of_special_values(float x, float expected)
    {
        Assert.Equal(expected, VectorMath<SimdScalar, float>.Exp(x));
        if (Vector512.IsHardwareAccelerated)
        {
            Assert.Equal(expected, VectorMath<Simd512, Vector512<float>>.Exp(Vector512.Create(x))[5]);
        }
    }

    [Fact]
    public void A_power_of_two_is_within_2e7_of_the_exact_value_in_every_width()
    {
        InEveryWidth(Function.PowerOfTwo, -126, 1, x => Math.Pow(2, x));
        InEveryWidth(Function.PowerOfTwo, -1e-3f, 1e-3f, x => Math.Pow(2, x));
    }

    [Theory]
    [InlineData(float.NegativeInfinity, 0f)]
    [InlineData(-1000f, 0f)]
    [InlineData(-127f, 0f)]
    [InlineData(0f, 1f)]
    [InlineData(-3f, 0.125f)]
    [InlineData(float.NaN, float.NaN)]
    public void A_power_of_two_of_special_values(float x, float expected)
    {
        Assert.Equal(expected, VectorMath<SimdScalar, float>.PowerOfTwo(x));
        if (Vector512.IsHardwareAccelerated)
        {
            Assert.Equal(expected, VectorMath<Simd512, Vector512<float>>.PowerOfTwo(Vector512.Create(x))[5]);
        }
    }

    [Fact]
    public void Tanh_and_erf_saturate_and_keep_nan()
    {
        Assert.Equal(1f, VectorMath<SimdScalar, float>.Tanh(float.PositiveInfinity));
        Assert.Equal(-1f, VectorMath<SimdScalar, float>.Erf(float.NegativeInfinity));
        Assert.Equal(float.NaN, VectorMath<SimdScalar, float>.Tanh(float.NaN));
        Assert.Equal(float.NaN, VectorMath<SimdScalar, float>.Erf(float.NaN));
    }

    private static void InEveryWidth(Function function, float low, float high, Func<double, double> exact)
    {
        Check<SimdScalar, float>(function, low, high, exact);
        Check<Simd128, Vector128<float>>(function, low, high, exact);
        if (CpuTestBackend.WidestBits >= 256)
        {
            Check<Simd256, Vector256<float>>(function, low, high, exact);
        }

        if (CpuTestBackend.WidestBits >= 512)
        {
            Check<Simd512, Vector512<float>>(function, low, high, exact);
        }
    }

    private static void Check<TSimd, TVector>(
        Function function, float low, float high, Func<double, double> exact)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
    {
        float[] x = new float[Samples / 16 * 16];
        float[] y = new float[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = low + ((high - low) * i / x.Length);
        }

        // The sample count is a multiple of every width.
        fixed (float* source = x, target = y)
        {
            for (int i = 0; i < x.Length; i += TSimd.Count)
            {
                TVector value = TSimd.Load(source + i);
                TVector result = function switch
                {
                    Function.Exp => VectorMath<TSimd, TVector>.Exp(value),
                    Function.PowerOfTwo => VectorMath<TSimd, TVector>.PowerOfTwo(value),
                    Function.Tanh => VectorMath<TSimd, TVector>.Tanh(value),
                    _ => VectorMath<TSimd, TVector>.Erf(value),
                };
                TSimd.Store(result, target + i);
            }
        }

        for (int i = 0; i < x.Length; i++)
        {
            double expected = exact(x[i]);
            double error = Math.Abs(y[i] - expected);
            Assert.True(error <= 2e-7 * Math.Abs(expected), $"{function}({x[i]:R}) in {typeof(TSimd).Name} is {y[i]:R}, not {expected:R}");
        }
    }

    private enum Function
    {
        Exp,
        PowerOfTwo,
        Tanh,
        Erf,
    }
}
