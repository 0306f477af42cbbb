using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;

namespace InferenceServer.KernelTests.Cpu;

public sealed class CpuAttentionWith512Bits : AttentionConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);
}

public sealed class CpuAttentionWith256Bits : AttentionConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);
}

public sealed class CpuAttentionWith128Bits : AttentionConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);
}

public sealed class CpuAttentionWith32Bits : AttentionConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);
}

public sealed class CpuPrefill : PrefillConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);
}
