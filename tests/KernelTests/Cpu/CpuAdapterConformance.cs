using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;

namespace InferenceServer.KernelTests.Cpu;

public sealed class CpuAdapterWith512Bits : AdapterConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);
}

public sealed class CpuAdapterWith256Bits : AdapterConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);
}

public sealed class CpuAdapterWith128Bits : AdapterConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);
}

public sealed class CpuAdapterWith32Bits : AdapterConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);
}
