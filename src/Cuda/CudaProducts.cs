namespace InferenceServer.Cuda;

/// <summary>How products with weights are formed.</summary>
public enum CudaProducts
{
    /// <summary>
    /// By the fastest way for the number of rows: own kernels for few, cuBLASLt for many. The last bits of a row may then depend on how many
    /// rows its step has.
    /// </summary>
    Auto,

    /// <summary>By own kernels for any number of rows: a row has the same bits alone, in any batch and in any chunk of a prefill.</summary>
    Exact,
}
