using System.Numerics.Tensors;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Emitted;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

/// <summary>Products by the emitted kernels, or by the vectors where this processor (or child run) lacks the instructions.</summary>
public sealed class CpuMatMulWithDots : MatMulConformance
{
    // Not the option's Auto, which takes tiles where there are any, and on some processors other products than those that there are.
    protected override IComputeBackend CreateBackend(int threads) => new CpuBackend(
        new CpuOptions { ThreadCount = threads },
        null,
        HasWideVectors ? new ProductChoice(null, EmittedKernels.BFloat16Dots, EmittedKernels.IntegerDots) : ProductChoice.None);

    /// <summary>x is rounded to bf16, to integers of 16 bits with a scale for each 32 (int8), or to integers of 8 bits with one for each 64 (NF4).</summary>
    protected override HostTensor Multiplied(HostTensor x, WeightFormat format) => format switch
    {
        WeightFormat.BF16 when EmittedKernels.BFloat16Dots is not null && HasWideVectors =>
            Map(x, 32, Round),
        WeightFormat.Int8 when HasIntegers => Map(x, 32, (group, target) => Quantise(group, ScaleFor(group, 32639, [1, 2]), target)),
        WeightFormat.NF4 when HasIntegers => Map(x, 64, (group, target) => Quantise(group, ScaleFor(group, 127, s_quarters), target)),
        _ => x,
    };

    /// <summary>NF4's values become integers; the largest of a block is 1 or -1 times its scale.</summary>
    protected override HostTensor Used(HostTensor kept, WeightFormat format) => format == WeightFormat.NF4 && HasIntegers
        ? Map(kept, 64, (block, target) => Quantise(block, Largest(block) / 112, target))
        : kept;

    /// <summary>Exponents of scales are added by instructions of their own, which differ between few rows and many.</summary>
    [Theory]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.NF4)]
    public void Rows_of_any_size_have_the_same_bits_alone_and_in_any_batch(WeightFormat format)
    {
        const int Inputs = 200;
        const int Outputs = 70;
        const int Rows = 64;
        HostTensor weight = HostTensor.Random(Outputs, Inputs, 11);
        HostTensor x = HostTensor.Random(Rows, Inputs, 12);
        for (int i = 0; i < x.Values.Length; i++)
        {
            // From 1e-37, subnormal once quantised, to 1e36; the elements of a row are within a few powers of ten of each other.
            x.Values[i] *= MathF.Pow(10, (i / Inputs * 73f / Rows) - 37 + (i % 3));
        }

        x.Values[(5 * Inputs) + 3] = float.NaN;
        x.Values[(9 * Inputs) + 70] = float.PositiveInfinity;
        x.Values.AsSpan(12 * Inputs, 100).Clear();
        using IComputeBackend backend = CreateBackend(2);
        using WeightMatrix matrix = Pack(backend, weight, format);

        float[] all = Run(backend, x, Rows, Outputs, (input, output) => backend.MatMul(input, matrix, output));

        foreach ((int first, int count) in Enumerable.Range(0, Rows).Select(row => (row, 1)).Concat([(0, 4), (7, 9), (20, 30)]))
        {
            float[] part = Run(backend, x.Slice(first, count), count, Outputs, (input, output) => backend.MatMul(input, matrix, output));
            Closeness.AssertSameBits(all.AsSpan(first * Outputs, count * Outputs), part, $"rows {first} + {count}");
        }
    }

    private static readonly double[] s_quarters = [Math.Pow(2, 0.25), Math.Sqrt(2), Math.Pow(2, 0.75), 2];

    private static bool HasIntegers => EmittedKernels.IntegerDots is not null && HasWideVectors;

    private static bool HasWideVectors => CpuTestBackend.WidestBits == 512;

    private static HostTensor Map(HostTensor x, int groupSize, GroupMap map)
    {
        HostTensor mapped = new(x.Rows, x.Columns);
        for (int row = 0; row < x.Rows; row++)
        {
            for (int first = 0; first < x.Columns; first += groupSize)
            {
                int at = (row * x.Columns) + first;
                int count = Math.Min(groupSize, x.Columns - first);
                map(x.Values.AsSpan(at, count), mapped.Values.AsSpan(at, count));
            }
        }

        return mapped;
    }

    private static void Round(ReadOnlySpan<float> x, Span<float> target)
    {
        for (int i = 0; i < x.Length; i++)
        {
            target[i] = BFloat16.ToSingle(BFloat16.FromSingle(x[i]));
        }
    }

    /// <summary>The least power of two times one of the mantissas with which the largest element has at most so many steps.</summary>
    private static double ScaleFor(ReadOnlySpan<float> x, float most, double[] mantissas)
    {
        float least = Largest(x) / most;
        double power = Math.ScaleB(1, Math.ILogB(least));
        return power * mantissas.First(mantissa => (float)mantissa * power >= least);
    }

    private static float Largest(ReadOnlySpan<float> x) => Math.Abs(TensorPrimitives.MaxMagnitude(x));

    private static void Quantise(ReadOnlySpan<float> x, double scale, Span<float> target)
    {
        for (int i = 0; i < x.Length; i++)
        {
            target[i] = scale == 0 ? 0 : (float)(Math.Round(x[i] * (1 / scale), MidpointRounding.ToEven) * scale);
        }
    }

    private delegate void GroupMap(ReadOnlySpan<float> x, Span<float> target);
}
