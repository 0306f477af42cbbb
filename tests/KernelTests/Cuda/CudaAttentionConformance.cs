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

[Collection(StandInCollection.Name)]
public sealed class CudaPrefillOverBFloat16 : PrefillConformance
{
    /// <summary>
    /// Rounding a query or a weight to bf16 moves it by 2^-9 of itself at most and by a third of that as a rule; both enter the result about once.
    /// </summary>
    protected override double Tolerance => 4e-3;

    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create(CudaProducts.Auto);
}
