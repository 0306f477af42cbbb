using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance.Training;

/// <summary>Back through weights that are not trained.</summary>
public abstract class FrozenWeightTrainingConformance : TrainingConformance
{
    [Theory]
    [InlineData(1, 1, 1, WeightFormat.F32)]
    [InlineData(3, 31, 17, WeightFormat.F32)]
    [InlineData(130, 33, 65, WeightFormat.F32)]
    [InlineData(5, 300, 7, WeightFormat.F32)]
    [InlineData(3, 31, 33, WeightFormat.BF16)]
    [InlineData(7, 290, 66, WeightFormat.BF16)]
    [InlineData(3, 31, 33, WeightFormat.Int8)]
    [InlineData(3, 31, 33, WeightFormat.NF4)]
    public void A_frozen_weight_passes_the_gradient_on(int rows, int outFeatures, int inFeatures, WeightFormat format)
    {
        HostTensor weight = HostTensor.Random(outFeatures, inFeatures, 1, 0.3f);
        using WeightMatrix matrix = Pack(Backend, weight, format);
        HostTensor kept = Kept(Backend, weight, matrix);
        HostTensor dy = HostTensor.Random(rows, outFeatures, 3, 0.5f);
        HostTensor old = HostTensor.Random(rows, inFeatures, 4);
        using GuardedTensor gradient = Put(dy);
        using GuardedTensor dx = Put(old);

        Training.MatMulBackward(gradient.View, matrix, dx.View);

        double[] expected = [.. Reference.MatMul(dy, Turned(kept)).Zip(old.Values, (product, before) => before + product)];
        double[] scale = [.. Reference.MatMul(dy.Absolute(), Turned(kept).Absolute()).Select(size => 1 + size)];
        Closeness.AssertCloseByScale(expected, scale, dx.Read(), 1e-6, $"dx of {format}");
    }

    [Theory]
    [InlineData(1, 1, 1, WeightFormat.Int8)]
    [InlineData(5, 300, 131, WeightFormat.Int8)]
    [InlineData(1, 1, 1, WeightFormat.NF4)]
    [InlineData(5, 300, 131, WeightFormat.NF4)]
    [InlineData(140, 64, 64, WeightFormat.NF4)]
    public void A_quantised_weight_passes_on_what_its_unpacked_weights_do(int rows, int outFeatures, int inFeatures, WeightFormat format)
    {
        HostTensor weight = HostTensor.Random(outFeatures, inFeatures, 1, 0.3f);
        using WeightMatrix quantized = Pack(Backend, weight, format);
        using WeightMatrix unpacked = Pack(Backend, Kept(Backend, weight, quantized), WeightFormat.F32);
        HostTensor old = HostTensor.Random(rows, inFeatures, 4);
        using GuardedTensor dy = Put(HostTensor.Random(rows, outFeatures, 3, 0.5f));
        using GuardedTensor dx = Put(old);
        using GuardedTensor expected = Put(old);

        Training.MatMulBackward(dy.View, quantized, dx.View);
        Training.MatMulBackward(dy.View, unpacked, expected.View);

        Closeness.AssertSameBits(expected.Read(), dx.Read(), $"dx of {format}");
    }

    [Theory]
    [InlineData(WeightFormat.F32)]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.NF4)]
    public void Adapted_row_norms_are_those_of_the_sum(WeightFormat format)
    {
        const int First = 33;
        HostTensor weight = HostTensor.Random(75, 21, 1);
        using WeightMatrix matrix = Pack(Backend, weight, format);
        HostTensor kept = Kept(Backend, weight, matrix);
        HostTensor a = HostTensor.Random(3, 21, 2);
        HostTensor b = HostTensor.Random(37, 3, 3);
        using GuardedTensor down = Put(a);
        using GuardedTensor up = Put(b);
        using GuardedTensor norms = new(Backend, 1, 37);

        Training.AdaptedRowNorms(matrix, First, down.View, up.View, 0.5f, norms.View);

        double[] delta = Reference.MatMul(b, Turned(a));
        double[] expected = [.. Enumerable.Range(0, 37).Select(row => Math.Sqrt(
            Enumerable.Range(0, 21).Sum(i => Math.Pow(kept[First + row, i] + (0.5 * delta[(row * 21) + i]), 2))))];
        Closeness.AssertClose(expected, norms.Read(), 1e-6, $"norms of {format}");
    }
}
