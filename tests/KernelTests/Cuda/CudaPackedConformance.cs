using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

[Collection(StandInCollection.Name)]
public sealed class CudaPackedConformance : PackedConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();
}
