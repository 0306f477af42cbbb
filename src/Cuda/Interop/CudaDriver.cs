using System.Runtime.InteropServices;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Interop;

/// <summary>
/// The driver API (docs.nvidia.com/cuda/cuda-driver-api). Only entry points whose symbol and signature are the same in the drivers of CUDA
/// 11.4 to 13; cuda.h hides versions behind macros, so that they are spelled out here.
/// </summary>
internal static unsafe partial class CudaDriver
{
    public const int OutOfMemory = 2;
    public const int ComputeCapabilityMajor = 75;
    public const int ComputeCapabilityMinor = 76;
    public const int MultiprocessorCount = 16;
    public const int MaxSharedMemoryOptIn = 97;
    public const int FunctionMaxDynamicSharedMemory = 8;

    /// <summary>A stream that does not wait for the legacy default stream.</summary>
    public const uint NonBlockingStream = 1;

    /// <summary>Only this thread's unsafe calls are errors while it captures; others may take memory.</summary>
    public const int ThreadLocalCapture = 1;

    /// <summary>An event without a time stamp: cheaper to record.</summary>
    public const uint EventWithoutTiming = 2;

    private const string Library = NativeLibraries.Driver;

    [LibraryImport(Library, EntryPoint = "cuInit")]
    public static partial int Initialize(uint flags);

    [LibraryImport(Library, EntryPoint = "cuDriverGetVersion")]
    public static partial int GetVersion(out int version);

    [LibraryImport(Library, EntryPoint = "cuDeviceGetCount")]
    public static partial int GetDeviceCount(out int count);

    [LibraryImport(Library, EntryPoint = "cuDeviceGet")]
    public static partial int GetDevice(out int device, int ordinal);

    [LibraryImport(Library, EntryPoint = "cuDeviceGetName")]
    public static partial int GetDeviceName(byte* name, int length, int device);

    [LibraryImport(Library, EntryPoint = "cuDeviceGetAttribute")]
    public static partial int GetDeviceAttribute(out int value, int attribute, int device);

    [LibraryImport(Library, EntryPoint = "cuDevicePrimaryCtxRetain")]
    public static partial int RetainPrimaryContext(out nint context, int device);

    [LibraryImport(Library, EntryPoint = "cuDevicePrimaryCtxRelease_v2")]
    public static partial int ReleasePrimaryContext(int device);

    [LibraryImport(Library, EntryPoint = "cuCtxSetCurrent")]
    public static partial int SetCurrentContext(nint context);

    [LibraryImport(Library, EntryPoint = "cuMemGetInfo_v2")]
    public static partial int GetMemoryInfo(out nuint free, out nuint total);

    [LibraryImport(Library, EntryPoint = "cuMemAlloc_v2")]
    public static partial int Allocate(out ulong address, nuint byteCount);

    [LibraryImport(Library, EntryPoint = "cuMemFree_v2")]
    public static partial int Free(ulong address);

    [LibraryImport(Library, EntryPoint = "cuMemHostAlloc")]
    public static partial int AllocatePinned(out nint address, nuint byteCount, uint flags);

    [LibraryImport(Library, EntryPoint = "cuMemFreeHost")]
    public static partial int FreePinned(nint address);

    [LibraryImport(Library, EntryPoint = "cuMemcpyHtoDAsync_v2")]
    public static partial int CopyToDevice(ulong target, void* source, nuint byteCount, nint stream);

    [LibraryImport(Library, EntryPoint = "cuMemcpyDtoHAsync_v2")]
    public static partial int CopyToHost(void* target, ulong source, nuint byteCount, nint stream);

    [LibraryImport(Library, EntryPoint = "cuMemcpyDtoDAsync_v2")]
    public static partial int CopyOnDevice(ulong target, ulong source, nuint byteCount, nint stream);

    [LibraryImport(Library, EntryPoint = "cuMemsetD8Async")]
    public static partial int Fill(ulong target, byte value, nuint byteCount, nint stream);

    [LibraryImport(Library, EntryPoint = "cuStreamCreate")]
    public static partial int CreateStream(out nint stream, uint flags);

    [LibraryImport(Library, EntryPoint = "cuStreamDestroy_v2")]
    public static partial int DestroyStream(nint stream);

    [LibraryImport(Library, EntryPoint = "cuStreamSynchronize")]
    public static partial int SynchronizeStream(nint stream);

    [LibraryImport(Library, EntryPoint = "cuStreamWaitEvent")]
    public static partial int WaitForEvent(nint stream, nint cudaEvent, uint flags);

    [LibraryImport(Library, EntryPoint = "cuStreamBeginCapture_v2")]
    public static partial int BeginCapture(nint stream, int mode);

    [LibraryImport(Library, EntryPoint = "cuStreamEndCapture")]
    public static partial int EndCapture(nint stream, out nint graph);

    [LibraryImport(Library, EntryPoint = "cuGraphInstantiateWithFlags")]
    public static partial int InstantiateGraph(out nint executable, nint graph, ulong flags);

    [LibraryImport(Library, EntryPoint = "cuGraphLaunch")]
    public static partial int LaunchGraph(nint executable, nint stream);

    [LibraryImport(Library, EntryPoint = "cuGraphDestroy")]
    public static partial int DestroyGraph(nint graph);

    [LibraryImport(Library, EntryPoint = "cuGraphExecDestroy")]
    public static partial int DestroyExecutableGraph(nint executable);

    [LibraryImport(Library, EntryPoint = "cuEventCreate")]
    public static partial int CreateEvent(out nint cudaEvent, uint flags);

    [LibraryImport(Library, EntryPoint = "cuEventRecord")]
    public static partial int RecordEvent(nint cudaEvent, nint stream);

    [LibraryImport(Library, EntryPoint = "cuEventSynchronize")]
    public static partial int SynchronizeEvent(nint cudaEvent);

    [LibraryImport(Library, EntryPoint = "cuEventElapsedTime")]
    public static partial int GetElapsedTime(out float milliseconds, nint start, nint end);

    [LibraryImport(Library, EntryPoint = "cuEventDestroy_v2")]
    public static partial int DestroyEvent(nint cudaEvent);

    [LibraryImport(Library, EntryPoint = "cuModuleLoadDataEx")]
    public static partial int LoadModule(out nint module, byte* image, uint optionCount, int* options, void** values);

    [LibraryImport(Library, EntryPoint = "cuModuleUnload")]
    public static partial int UnloadModule(nint module);

    [LibraryImport(Library, EntryPoint = "cuModuleGetFunction", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int GetFunction(out nint function, nint module, string name);

    [LibraryImport(Library, EntryPoint = "cuFuncSetAttribute")]
    public static partial int SetFunctionAttribute(nint function, int attribute, int value);

    // No SuppressGCTransition: a full queue blocks here, and the collector would wait with it.
    [LibraryImport(Library, EntryPoint = "cuLaunchKernel")]
    public static partial int LaunchKernel(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream, void** arguments, void** extra);

    /// <exception cref="CudaException">The call failed.</exception>
    /// <exception cref="DeviceLostException">It failed, and so will every later one.</exception>
    public static void Check(int result, string call)
    {
        if (result != 0)
        {
            Throw(result, call);
        }
    }

    /// <summary>A result's name and meaning, as the driver gives them.</summary>
    public static string Describe(int result)
    {
        string name = GetErrorName(result, out nint text) == 0 ? Marshal.PtrToStringUTF8(text) ?? "" : $"error {result}";
        string meaning = GetErrorString(result, out text) == 0 ? Marshal.PtrToStringUTF8(text) ?? "" : "unknown";
        return $"{name} ({meaning})";
    }

    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    private static void Throw(int result, string call)
    {
        CudaException error = new(result, $"{call}: {Describe(result)}");
        throw error.IsSticky ? new DeviceLostException(error.Message, error) : error;
    }

    [LibraryImport(Library, EntryPoint = "cuGetErrorName")]
    private static partial int GetErrorName(int result, out nint text);

    [LibraryImport(Library, EntryPoint = "cuGetErrorString")]
    private static partial int GetErrorString(int result, out nint text);
}
