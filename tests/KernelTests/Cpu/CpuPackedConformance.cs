using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;

namespace InferenceServer.KernelTests.Cpu;

public sealed class CpuPackedConformance : PackedConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);
}
