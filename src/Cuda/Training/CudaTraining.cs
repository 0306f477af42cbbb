using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Training;

/// <summary>Makes the training half of a CUDA backend.</summary>
public static class CudaTraining
{
    /// <summary>
    /// The backward operations, on the backend's stream: one thread at a time may call the backend's operations or these. Dispose it before the
    /// backend.
    /// </summary>
    public static ITrainingBackend Create(CudaBackend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        return new CudaTrainingBackend(backend.Context);
    }
}
