using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Cuda;
using InferenceServer.Cuda.Training;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Cuda;

namespace InferenceServer.UnitTests.Training;

/// <summary>What tests of training compute with: a backend and its other half.</summary>
internal static class TrainingMachines
{
    /// <summary>The processor, one thread.</summary>
    public static (IComputeBackend Backend, ITrainingBackend Operations) Cpu()
    {
        CpuBackend backend = new(new CpuOptions { ThreadCount = 1, Products = CpuProducts.Vectors });
        return (backend, CpuTraining.Create(backend));
    }

    /// <summary>The CUDA backend on the stand-in.</summary>
    /// <param name="products">How products are formed.</param>
    /// <param name="keyValues">How the forward keeps keys and values; f32 rounds nothing.</param>
    public static (IComputeBackend Backend, ITrainingBackend Operations) Cuda(CudaProducts products, WeightFormat keyValues = WeightFormat.F32)
    {
        CudaOptions options = new() { LibraryPath = StandIn.Folder, Products = products, KeyValues = keyValues };
        return CudaBackend.TryCreate(options, out CudaBackend? backend, out string reason)
            ? (backend, CudaTraining.Create(backend))
            : throw new InvalidOperationException($"the stand-in has no device: {reason}");
    }
}
