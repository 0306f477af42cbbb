using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

[Collection(StandInCollection.Name)]
public sealed class CudaAttentionOverF32 : AttentionConformance
{
    protected override int LongSequence => 310;

    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create(keyValues: WeightFormat.F32);
}

[Collection(StandInCollection.Name)]
public sealed class CudaAttentionOverBFloat16 : AttentionConformance
{
    /// <summary>Queries and weights are two bf16 each, 16 bits: what they leave out is 2^-17 of a number.</summary>
    protected override double Tolerance => 1e-5;

    protected override int LongSequence => 310;

    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create(CudaProducts.Exact);
}
