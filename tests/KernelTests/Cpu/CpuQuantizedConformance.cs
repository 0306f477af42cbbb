using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;

namespace InferenceServer.KernelTests.Cpu;

public sealed class CpuQuantizedWith512Bits : UnroundedQuantizedConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);
}

public sealed class CpuQuantizedWith256Bits : UnroundedQuantizedConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);
}

public sealed class CpuQuantizedWith128Bits : UnroundedQuantizedConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);
}

public sealed class CpuQuantizedWith32Bits : UnroundedQuantizedConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);
}
