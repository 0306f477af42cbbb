using InferenceServer.Cuda;
using InferenceServer.Cuda.Training;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Training;

/// <summary>Products of training where they need not be exact: what is rounded is rounded once, and all else is as exact.</summary>
[Collection(StandInCollection.Name)]
public sealed class TensorCoreGradientTests : IDisposable
{
    private readonly CudaBackend _backend = CudaTestBackend.Create(CudaProducts.Auto);
    private readonly ITrainingBackend _training;

    public TensorCoreGradientTests() => _training = CudaTraining.Create(_backend);

    public void Dispose()
    {
        _training.Dispose();
        _backend.Dispose();
    }

    [StandInTheory]
    [InlineData(1, 1, 1, WeightFormat.BF16)]
    [InlineData(19, 35, 21, WeightFormat.BF16)]
    [InlineData(19, 35, 21, WeightFormat.Int8)]
    [InlineData(19, 35, 21, WeightFormat.NF4)]
    [InlineData(19, 35, 21, WeightFormat.F32)]
    public void A_gradient_through_a_frozen_weight_is_rounded_to_bf16_and_no_sum_is(int rows, int outFeatures, int inFeatures, WeightFormat format)
    {
        HostTensor weight = HostTensor.Random(outFeatures, inFeatures, 1, 0.3f);
        using WeightMatrix matrix = _backend.CreateMatrix(
            outFeatures, inFeatures, format, "w", (first, target) => weight.Values.AsSpan(first * inFeatures, target.Length).CopyTo(target));
        HostTensor kept = new(outFeatures, inFeatures);
        _backend.ReadMatrix(matrix, 0, kept.Values);
        HostTensor dy = HostTensor.Random(rows, outFeatures, 2);
        HostTensor old = HostTensor.Random(rows, inFeatures, 3);
        using GuardedTensor gradient = new(_backend, dy);
        using GuardedTensor dx = new(_backend, old);

        _training.MatMulBackward(gradient.View, matrix, dx.View);

        bool rounds = format != WeightFormat.F32;
        HostTensor left = rounds ? dy.RoundedToBFloat16() : dy;
        HostTensor right = rounds ? kept.RoundedToBFloat16() : kept;
        double[] expected = old.Wide();
        for (int i = 0; i < expected.Length; i++)
        {
            expected[i] += Enumerable.Range(0, outFeatures).Sum(o => (double)left[i / inFeatures, o] * right[o, i % inFeatures]);
        }

        Closeness.AssertClose(expected, dx.Read(), 1e-6, $"dx of {format}");
    }

    [StandInFact]
    public void Long_products_of_f32_are_cublas_s()
    {
        HostTensor x = HostTensor.Random(128, 130, 1);
        HostTensor w = HostTensor.Random(129, 130, 2);
        using GuardedTensor left = new(_backend, x);
        using GuardedTensor right = new(_backend, w);
        using GuardedTensor y = new(_backend, 128, 129);
        StandIn.ResetCounters();

        _training.MultiplyTransposed(0.5f, left.View, right.View, y.View, add: false);

        Closeness.AssertClose([.. Reference.MatMul(x, w).Select(value => 0.5 * value)], y.Read(), 1e-6, "x w^T");
        Assert.Equal(1, StandIn.Counters.MatMulsRun);
    }
}
