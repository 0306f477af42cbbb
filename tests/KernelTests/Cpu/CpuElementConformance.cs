using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;

namespace InferenceServer.KernelTests.Cpu;

public sealed class CpuElementWith512Bits : ElementConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);
}

public sealed class CpuElementWith256Bits : ElementConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);
}

public sealed class CpuElementWith128Bits : ElementConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);
}

public sealed class CpuElementWith32Bits : ElementConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);
}
