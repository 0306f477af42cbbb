using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Weights;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

/// <summary>Kernels over rows that end at a guard page, for every length around the vector widths.</summary>
public sealed unsafe class GuardPageTests
{
    private const int MaxLength = 70;

    [Fact]
    public void No_kernel_reads_past_the_end_of_a_row()
    {
        Check<SimdScalar, float>();
        Check<Simd128, Vector128<float>>();
        if (CpuTestBackend.WidestBits >= 256)
        {
            Check<Simd256, Vector256<float>>();
        }

        if (CpuTestBackend.WidestBits >= 512)
        {
            Check<Simd512, Vector512<float>>();
        }
    }

    private static void Check<TSimd, TVector>()
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
    {
        using GuardPageMemory xMemory = new();
        using GuardPageMemory yMemory = new();
        for (int length = 1; length <= MaxLength; length++)
        {
            fixed (float* x = xMemory.Last(length, length), y = yMemory.Last(length, length + 1))
            {
                CheckSums<TSimd, TVector>(x, length);
                CheckWeightedAdd<TSimd, TVector>(x, y, length);
                CheckProducts<TSimd, TVector>(x, length);
            }
        }
    }

    private static void CheckSums<TSimd, TVector>(float* x, int length)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
    {
        double sum = 0;
        double squares = 0;
        double size = 0;
        for (int i = 0; i < length; i++)
        {
            sum += x[i];
            size += Math.Abs(x[i]);
            squares += (double)x[i] * x[i];
        }

        Closeness.AssertCloseByScale([sum], [size], [RowSums<TSimd, TVector>.Sum(x, length)], 1e-6, $"sum of {length}");
        Closeness.AssertCloseByScale(
            [squares], [squares], [RowSums<TSimd, TVector>.SumOfSquares(x, length, 0)], 1e-6, $"sum of {length} squares");
    }

    private static void CheckWeightedAdd<TSimd, TVector>(float* x, float* y, int length)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
    {
        double[] expected = new double[length];
        for (int i = 0; i < length; i++)
        {
            expected[i] = y[i] + (0.5 * x[i]);
        }

        WeightedAdd<TSimd, TVector>.Apply(x, 0.5f, y, length);

        Closeness.AssertClose(expected, new ReadOnlySpan<float>(y, length).ToArray(), 1e-7, $"weighted add of {length}");
    }

    /// <summary>All weights are 1, so every product is the sum of x; weights are padded, x is not.</summary>
    private static void CheckProducts<TSimd, TVector>(float* x, int length)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
    {
        float expected = 0;
        double size = 0;
        for (int i = 0; i < length; i++)
        {
            expected += x[i];
            size += Math.Abs(x[i]);
        }

        ushort[] pairs = new ushort[(MaxLength + PanelLayout.DepthBlock) * PanelLayout.Width];
        Array.Fill(pairs, (ushort)0x3f80);
        float[] ones = new float[MaxLength * PanelLayout.Width];
        Array.Fill(ones, 1f);
        float* c = stackalloc float[4 * 16];
        float* dots = stackalloc float[1];
        float* tail = stackalloc float[Shrink<TSimd, TVector, F32Run>.TailFloats(1)];
        fixed (ushort* b = pairs)
        fixed (float* f = ones)
        {
            byte* first = (byte*)b;
            PairPanelKernel<TSimd, TVector>.Rows1(x, first, first, first, first, length, c, c + 16, c + 32, c + 48, resume: false);
            Assert.Equal(expected, c[48]);

            PanelKernel<TSimd, TVector, F32Element>.Multiply(
                1, x, 0, (byte*)f, (byte*)f, PanelLayout.Width * sizeof(float), length, c, c + 16, 0, PanelMode.Overwrite);
            Assert.Equal(expected, c[16]);

            Shrink<TSimd, TVector, F32Run>.Apply(1, x, 0, (byte*)f, 1, length, 1, dots, 0, tail);
            Closeness.AssertCloseByScale([expected], [size], [dots[0]], 1e-6, $"dot product of {length}");
        }
    }
}
