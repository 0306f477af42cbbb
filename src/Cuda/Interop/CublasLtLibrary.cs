using System.Runtime.InteropServices;

namespace InferenceServer.Cuda.Interop;

/// <summary>cuBLASLt (docs.nvidia.com/cuda/cublas, "Using the cublasLt API"); the same symbols and enumerations in CUDA 11 to 13.</summary>
internal static unsafe partial class CublasLtLibrary
{
    public const int Float32 = 0;
    public const int BFloat16 = 14;
    public const int ComputeFloat32 = 68;
    public const int TransposeA = 3;
    public const int TransposeB = 4;
    public const int MaxWorkspaceBytes = 1;
    public const int MinAlignmentA = 5;
    public const int MinAlignmentB = 6;
    public const int MinAlignmentC = 7;
    public const int MinAlignmentD = 8;
    public const int Transposed = 1;
    public const int NotTransposed = 0;

    private const string Library = NativeLibraries.CublasLt;

    [LibraryImport(Library, EntryPoint = "cublasLtCreate")]
    public static partial int Create(out nint handle);

    [LibraryImport(Library, EntryPoint = "cublasLtDestroy")]
    public static partial int Destroy(nint handle);

    [LibraryImport(Library, EntryPoint = "cublasLtGetVersion")]
    public static partial nuint GetVersion();

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescCreate")]
    public static partial int CreateDescriptor(out nint descriptor, int computeType, int scaleType);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescDestroy")]
    public static partial int DestroyDescriptor(nint descriptor);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescSetAttribute")]
    public static partial int SetDescriptor(nint descriptor, int attribute, void* value, nuint size);

    [LibraryImport(Library, EntryPoint = "cublasLtMatrixLayoutCreate")]
    public static partial int CreateLayout(out nint layout, int type, ulong rows, ulong columns, long leadingDimension);

    [LibraryImport(Library, EntryPoint = "cublasLtMatrixLayoutDestroy")]
    public static partial int DestroyLayout(nint layout);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceCreate")]
    public static partial int CreatePreference(out nint preference);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceDestroy")]
    public static partial int DestroyPreference(nint preference);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceSetAttribute")]
    public static partial int SetPreference(nint preference, int attribute, void* value, nuint size);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulAlgoGetHeuristic")]
    public static partial int FindAlgorithm(
        nint handle, nint descriptor, nint a, nint b, nint c, nint d, nint preference, int requested, Heuristic* results, out int found);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmul")]
    public static partial int Multiply(
        nint handle,
        nint descriptor,
        void* alpha,
        ulong a,
        nint aLayout,
        ulong b,
        nint bLayout,
        void* beta,
        ulong c,
        nint cLayout,
        ulong d,
        nint dLayout,
        void* algorithm,
        ulong workspace,
        nuint workspaceBytes,
        nint stream);

    /// <exception cref="CudaException">The call failed.</exception>
    public static void Check(int result, string call)
    {
        if (result != 0)
        {
            throw new CudaException(result, $"{call}: cuBLASLt status {result}");
        }
    }

    /// <summary>cublasLtMatmulHeuristicResult_t, 96 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Heuristic
    {
        /// <summary>The algorithm; opaque, of this library and device only.</summary>
        public fixed ulong Algorithm[8];

        public nuint WorkspaceBytes;

        public int State;

        public float WavesCount;

        public fixed int Reserved[4];
    }
}
