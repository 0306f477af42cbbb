using InferenceServer.Cuda.KeyValues;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>The arguments of one attention operation.</summary>
/// <param name="Q">Queries, <c>[T, Q * D]</c>.</param>
/// <param name="Cache">Keys and values.</param>
/// <param name="Layer">Layer of the cache.</param>
/// <param name="Parameters">Heads, scale, cap and window.</param>
/// <param name="Y">Results, <c>[T, Q * D]</c>.</param>
internal readonly record struct AttentionCall(TensorView Q, CudaKvCache Cache, int Layer, AttentionParameters Parameters, TensorView Y)
{
    /// <summary>Query heads of a kv head.</summary>
    public int HeadsPerKv => Parameters.Heads / Parameters.KvHeads;
}
