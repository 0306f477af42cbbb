using System.Numerics.Tensors;
using InferenceServer.Cpu;
using InferenceServer.Cpu.Emitted;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.ReferenceMaths;

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
        WeightFormat.Int8 when HasIntegers => Map(x, 32, (group, target) => Quantise(group, 32639, target)),
        WeightFormat.NF4 when HasIntegers => Map(x, 64, (group, target) => Quantise(group, 127, target)),
        _ => x,
    };

    /// <summary>NF4's values become integers; the largest of a block is 1 or -1 times its scale.</summary>
    protected override HostTensor Used(HostTensor kept, WeightFormat format) => format == WeightFormat.NF4 && HasIntegers
        ? Map(kept, 64, (block, target) => Quantise(block, 112, target))
        : kept;

    /// <summary>NF4's bytes are unsigned; what that adds is taken out again with a rounding that is a part of the largest weight.</summary>
    protected override HostTensor Sizes(HostTensor kept, WeightFormat format)
    {
        HostTensor sizes = kept.Absolute();
        if (format == WeightFormat.NF4)
        {
            Array.Fill(sizes.Values, sizes.Values.Max());
        }

        return sizes;
    }

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

    private static void Quantise(ReadOnlySpan<float> x, float most, Span<float> target)
    {
        float largest = Math.Abs(TensorPrimitives.MaxMagnitude(x));
        for (int i = 0; i < x.Length; i++)
        {
            target[i] = largest == 0 ? 0 : (float)Math.Round((double)(x[i] * (most / largest)), MidpointRounding.ToEven) * (largest / most);
        }
    }

    private delegate void GroupMap(ReadOnlySpan<float> x, Span<float> target);
}
