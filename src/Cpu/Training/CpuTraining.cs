using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Simd;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Training;

/// <summary>Makes the training half of a CPU backend.</summary>
public static class CpuTraining
{
    /// <summary>
    /// The backward operations, on the backend's threads: one thread at a time may call the backend's operations or these. Dispose it before
    /// the backend, whose products must be <see cref="CpuProducts.Vectors"/>: gradients are those of products that round nothing but sums.
    /// </summary>
    /// <exception cref="ArgumentException">The backend forms products another way.</exception>
    public static ITrainingBackend Create(CpuBackend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        if (backend.UsesEmittedProducts)
        {
            throw new ArgumentException($"training needs a backend with Products {CpuProducts.Vectors}; this one rounds the inputs of products");
        }

        return backend.VectorBits switch
        {
            512 => new CpuTrainingBackend<Simd512, Vector512<float>>(backend),
            256 => new CpuTrainingBackend<Simd256, Vector256<float>>(backend),
            128 => new CpuTrainingBackend<Simd128, Vector128<float>>(backend),
            _ => new CpuTrainingBackend<SimdScalar, float>(backend),
        };
    }
}
