using System.Runtime.InteropServices;

namespace InferenceServer.Cuda.Interop;

/// <summary>The run-time compiler (docs.nvidia.com/cuda/nvrtc); entry points that have one shape from CUDA 11.2 to 13.</summary>
internal static unsafe partial class NvrtcLibrary
{
    private const string Library = NativeLibraries.Nvrtc;

    [LibraryImport(Library, EntryPoint = "nvrtcVersion")]
    public static partial int GetVersion(out int major, out int minor);

    [LibraryImport(Library, EntryPoint = "nvrtcGetNumSupportedArchs")]
    public static partial int GetArchitectureCount(out int count);

    [LibraryImport(Library, EntryPoint = "nvrtcGetSupportedArchs")]
    public static partial int GetArchitectures(int* architectures);

    [LibraryImport(Library, EntryPoint = "nvrtcCreateProgram")]
    public static partial int CreateProgram(out nint program, byte* source, byte* name, int headerCount, byte** headers, byte** includeNames);

    [LibraryImport(Library, EntryPoint = "nvrtcDestroyProgram")]
    public static partial int DestroyProgram(ref nint program);

    [LibraryImport(Library, EntryPoint = "nvrtcCompileProgram")]
    public static partial int CompileProgram(nint program, int optionCount, byte** options);

    [LibraryImport(Library, EntryPoint = "nvrtcGetPTXSize")]
    public static partial int GetPtxSize(nint program, out nuint size);

    [LibraryImport(Library, EntryPoint = "nvrtcGetPTX")]
    public static partial int GetPtx(nint program, byte* ptx);

    [LibraryImport(Library, EntryPoint = "nvrtcGetCUBINSize")]
    public static partial int GetCubinSize(nint program, out nuint size);

    [LibraryImport(Library, EntryPoint = "nvrtcGetCUBIN")]
    public static partial int GetCubin(nint program, byte* cubin);

    [LibraryImport(Library, EntryPoint = "nvrtcGetProgramLogSize")]
    public static partial int GetLogSize(nint program, out nuint size);

    [LibraryImport(Library, EntryPoint = "nvrtcGetProgramLog")]
    public static partial int GetLog(nint program, byte* log);

    /// <exception cref="CudaException">The call failed.</exception>
    public static void Check(int result, string call)
    {
        if (result != 0)
        {
            throw new CudaException(result, $"{call}: NVRTC status {result} ({Marshal.PtrToStringUTF8(GetErrorString(result))})");
        }
    }

    [LibraryImport(Library, EntryPoint = "nvrtcGetErrorString")]
    private static partial nint GetErrorString(int result);
}
