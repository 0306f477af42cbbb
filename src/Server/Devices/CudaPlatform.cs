using InferenceServer.Cuda;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;

namespace InferenceServer.Server.Devices;

/// <summary>An NVIDIA device.</summary>
internal sealed class CudaPlatform : IComputePlatform
{
    private readonly CudaBackend _serving;

    /// <param name="serving">Owned from here on.</param>
    public CudaPlatform(CudaBackend serving) => _serving = serving;

    public IComputeBackend Serving => _serving;

    public IComputeBackend CreateProbe() => _serving.CreateView();

    public (IComputeBackend Backend, ITrainingBackend Operations) CreateTraining(int threads, Action? beforeOperation) =>
        throw new FailedPreconditionException("training needs --device cpu");

    public void Dispose() => _serving.Dispose();
}
