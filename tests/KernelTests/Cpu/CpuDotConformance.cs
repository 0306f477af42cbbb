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

    /// <summary>x is rounded to bf16, or to integers of 16 bits with a scale for each 32.</summary>
    protected override HostTensor Multiplied(HostTensor x, WeightFormat format) => format switch
    {
        WeightFormat.BF16 when EmittedKernels.BFloat16Dots is not null && HasWideVectors =>
            Map(x, (group, target) => Round(group, target)),
        WeightFormat.Int8 or WeightFormat.NF4 when EmittedKernels.IntegerDots is not null && HasWideVectors =>
            Map(x, (group, target) => Quantise(group, target)),
        _ => x,
    };

    /// <summary>NF4's values become integers that are exact to a part of the largest of their block.</summary>
    protected override HostTensor Sizes(HostTensor kept, WeightFormat format)
    {
        HostTensor sizes = kept.Absolute();
        if (format == WeightFormat.NF4)
        {
            Array.Fill(sizes.Values, sizes.Values.Max());
        }

        return sizes;
    }

    protected override double Tolerance(WeightFormat format) => format == WeightFormat.NF4 ? 2.5e-4 : 1e-6;

    private static bool HasWideVectors => CpuTestBackend.WidestBits == 512;

    private static HostTensor Map(HostTensor x, GroupMap map)
    {
        const int Group = 32;
        HostTensor mapped = new(x.Rows, x.Columns);
        for (int row = 0; row < x.Rows; row++)
        {
            for (int first = 0; first < x.Columns; first += Group)
            {
                int at = (row * x.Columns) + first;
                int count = Math.Min(Group, x.Columns - first);
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

    private static void Quantise(ReadOnlySpan<float> x, Span<float> target)
    {
        const float Largest = 32639;
        float largest = Math.Abs(TensorPrimitives.MaxMagnitude(x));
        for (int i = 0; i < x.Length; i++)
        {
            target[i] = (float)Math.Round((double)(x[i] * (Largest / largest)), MidpointRounding.ToEven) * (largest / Largest);
        }
    }

    private delegate void GroupMap(ReadOnlySpan<float> x, Span<float> target);
}
