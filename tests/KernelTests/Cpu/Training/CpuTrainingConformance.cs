using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance.Training;

namespace InferenceServer.KernelTests.Cpu.Training;

public sealed class CpuProductTrainingWith512Bits : ProductTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuProductTrainingWith256Bits : ProductTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuProductTrainingWith128Bits : ProductTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuProductTrainingWith32Bits : ProductTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuNormTrainingWith512Bits : NormTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuNormTrainingWith256Bits : NormTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuNormTrainingWith128Bits : NormTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuNormTrainingWith32Bits : NormTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuAttentionTrainingWith512Bits : AttentionTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuAttentionTrainingWith256Bits : AttentionTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuAttentionTrainingWith128Bits : AttentionTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuAttentionTrainingWith32Bits : AttentionTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuElementTrainingWith512Bits : ElementTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuElementTrainingWith256Bits : ElementTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuElementTrainingWith128Bits : ElementTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuElementTrainingWith32Bits : ElementTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuTableTrainingWith512Bits : TableTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuTableTrainingWith256Bits : TableTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuTableTrainingWith128Bits : TableTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuTableTrainingWith32Bits : TableTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuLossTrainingWith512Bits : LossTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuLossTrainingWith256Bits : LossTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuLossTrainingWith128Bits : LossTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuLossTrainingWith32Bits : LossTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuGateTrainingWith512Bits : GateTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuGateTrainingWith256Bits : GateTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuGateTrainingWith128Bits : GateTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuGateTrainingWith32Bits : GateTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuFrozenWeightTrainingWith512Bits : FrozenWeightTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(512, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuFrozenWeightTrainingWith256Bits : FrozenWeightTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(256, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuFrozenWeightTrainingWith128Bits : FrozenWeightTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(128, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}

public sealed class CpuFrozenWeightTrainingWith32Bits : FrozenWeightTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CpuTestBackend.Create(32, threads);

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CpuTraining.Create((CpuBackend)backend);
}
