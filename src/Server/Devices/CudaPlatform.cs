using InferenceServer.Cuda;
using InferenceServer.Cuda.Training;
using InferenceServer.Tensors;

namespace InferenceServer.Server.Devices;

/// <summary>An NVIDIA device.</summary>
internal sealed class CudaPlatform : IComputePlatform
{
    private readonly CudaBackend _serving;

    /// <param name="serving">Owned from here on.</param>
    public CudaPlatform(CudaBackend serving)
    {
        _serving = serving;
        DefaultLimits = StepLimits.OfDevice(serving.FreeMemory ?? 0);
    }

    public IComputeBackend Serving => _serving;

    public StepLimits DefaultLimits { get; }

    public IComputeBackend CreateProbe() => _serving.CreateView();

    public (IComputeBackend Backend, ITrainingBackend Operations) CreateTraining(int threads, Action? beforeOperation)
    {
        CudaBackend backend = _serving.CreateView(beforeOperation);
        return (backend, CudaTraining.Create(backend));
    }

    public void Dispose() => _serving.Dispose();
}
