using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Cuda;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>The CUDA backend on the stand-in, or on a device where <see cref="CudaHardware"/> says so.</summary>
internal static class CudaTestBackend
{
    /// <summary>Makes a backend; the stand-in is built if it was not.</summary>
    /// <param name="products">Exact by default: a row's result must not depend on the others'.</param>
    /// <param name="graphs">Whether steps of decodes are captured.</param>
    /// <param name="keyValues">How the KV cache is kept.</param>
    /// <param name="adapterMemoryBytes">Most memory of adapters; 0 for no limit.</param>
    public static CudaBackend Create(
        CudaProducts products = CudaProducts.Exact, bool graphs = true, WeightFormat keyValues = WeightFormat.BF16, long adapterMemoryBytes = 0)
    {
        CudaOptions options = new()
        {
            LibraryPath = CudaHardware.LibraryPath,
            KernelCache = CudaHardware.KernelCache,
            Products = products,
            Graphs = graphs,
            KeyValues = keyValues,
            AdapterMemoryBytes = adapterMemoryBytes,
        };
        return CudaBackend.TryCreate(options, out CudaBackend? backend, out string reason)
            ? backend
            : throw new InvalidOperationException($"there is no device: {reason}");
    }
}
