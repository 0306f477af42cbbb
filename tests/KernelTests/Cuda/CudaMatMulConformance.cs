using InferenceServer.Tensors;
using InferenceServer.Tensors.Quantization;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Own kernels for every number of rows.</summary>
[Collection(StandInCollection.Name)]
public sealed class CudaMatMulConformance : MatMulConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    /// <summary>x is rounded to bf16, but for f32 weights.</summary>
    protected override HostTensor Multiplied(HostTensor x, WeightFormat format) => format == WeightFormat.F32 ? x : x.RoundedToBFloat16();

    /// <summary>NF4's 16 values are rounded to bf16: up to 0.3 % of a value.</summary>
    protected override double Tolerance(WeightFormat format) =>
        1e-6 + (format == WeightFormat.NF4 ? NormalFloat4.Values.ToArray().Where(value => value != 0).Max(RoundingError) : 0);

    private static double RoundingError(float value) => Math.Abs((BFloat16.ToSingle(BFloat16.FromSingle(value)) / (double)value) - 1);
}
