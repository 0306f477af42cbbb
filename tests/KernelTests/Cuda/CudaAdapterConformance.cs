using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Adapters on the stand-in, row by row.</summary>
[Collection(StandInCollection.Name)]
public sealed class CudaAdapterConformance : AdapterConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create(CudaProducts.Exact);
}
