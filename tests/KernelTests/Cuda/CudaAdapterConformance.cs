using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Adapters on the stand-in.</summary>
[Collection(StandInCollection.Name)]
public sealed class CudaAdapterConformance : AdapterConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();
}
