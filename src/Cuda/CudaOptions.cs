using InferenceServer.Tensors;

namespace InferenceServer.Cuda;

/// <summary>How the CUDA backend uses the device.</summary>
public sealed class CudaOptions
{
    /// <summary>Number of the device, as <c>CUDA_VISIBLE_DEVICES</c> leaves them; 0 by default.</summary>
    public int Device { get; set; }

    /// <summary>
    /// Folders that are searched first for libcuda, NVRTC and cuBLASLt, separated by ':'; empty (the default) for <c>CUDA_LIBRARY_PATH</c>.
    /// Both before the loader's own path.
    /// </summary>
    public string LibraryPath { get; set; } = "";

    /// <summary>
    /// Folder that keeps compiled kernels between starts, or empty (the default) for none. A file belongs to one source, one NVRTC and one
    /// kind of device.
    /// </summary>
    public string KernelCache { get; set; } = "";

    /// <summary>
    /// Whether steps of decodes are captured into graphs and launched whole. Default true; false launches kernel by kernel, with the same
    /// results, for comparison.
    /// </summary>
    public bool Graphs { get; set; } = true;

    /// <summary>
    /// Most rows of a step that is launched as a graph; 64 by default. A larger step spends so long in its kernels that launching them one by one
    /// costs nothing.
    /// </summary>
    public int MaxGraphRows { get; set; } = 64;

    /// <summary>How products are formed: Auto (the default), or Exact.</summary>
    public CudaProducts Products { get; set; }

    /// <summary>
    /// How keys and values are kept: BF16 (the default), or F32 for twice the memory and slower attention, to compare exactly with another
    /// backend.
    /// </summary>
    public WeightFormat KeyValues { get; set; } = WeightFormat.BF16;

    /// <summary>
    /// Most device memory that adapters may take, in bytes; 0 (the default) for what is free. It is taken in pieces of 8 MiB, one for each
    /// length of matrix row in use, and kept once taken.
    /// </summary>
    public long AdapterMemoryBytes { get; set; }
}
