using InferenceServer.Cuda;
using InferenceServer.Cuda.Training;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance.Training;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Training;

[Collection(StandInCollection.Name)]
public sealed class CudaProductTraining : ProductTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CudaTraining.Create((CudaBackend)backend);
}

[Collection(StandInCollection.Name)]
public sealed class CudaNormTraining : NormTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CudaTraining.Create((CudaBackend)backend);
}

[Collection(StandInCollection.Name)]
public sealed class CudaAttentionTraining : AttentionTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CudaTraining.Create((CudaBackend)backend);
}

[Collection(StandInCollection.Name)]
public sealed class CudaElementTraining : ElementTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CudaTraining.Create((CudaBackend)backend);
}

[Collection(StandInCollection.Name)]
public sealed class CudaTableTraining : TableTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CudaTraining.Create((CudaBackend)backend);
}

[Collection(StandInCollection.Name)]
public sealed class CudaLossTraining : LossTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CudaTraining.Create((CudaBackend)backend);
}

[Collection(StandInCollection.Name)]
public sealed class CudaGateTraining : GateTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CudaTraining.Create((CudaBackend)backend);
}

[Collection(StandInCollection.Name)]
public sealed class CudaFrozenWeightTraining : FrozenWeightTrainingConformance
{
    protected override IComputeBackend CreateBackend(int threads) => CudaTestBackend.Create();

    protected override ITrainingBackend CreateTraining(IComputeBackend backend) => CudaTraining.Create((CudaBackend)backend);
}
