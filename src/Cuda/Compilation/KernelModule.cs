using System.Runtime.InteropServices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Compilation;

/// <summary>The kernels of one file, on the device.</summary>
internal sealed unsafe class KernelModule : SafeHandle
{
    private const int ErrorLog = 5;
    private const int ErrorLogBytes = 6;
    private readonly string _file;

    public KernelModule(string file, byte[] image)
        : base(0, ownsHandle: true)
    {
        _file = file;
        const int LogLength = 8192;
        byte* log = stackalloc byte[LogLength];
        log[0] = 0;
        int* options = stackalloc int[] { ErrorLog, ErrorLogBytes };
        void** values = stackalloc void*[] { log, (void*)LogLength };

        // PTX is text that must end with a zero.
        byte[] ended = [.. image, 0];
        fixed (byte* first = ended)
        {
            int result = CudaDriver.LoadModule(out nint module, first, 2, options, values);
            CudaDriver.Check(result, $"cuModuleLoadData of {file} {Marshal.PtrToStringUTF8((nint)log)}");
            SetHandle(module);
        }
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>A kernel by the name of its <c>extern "C" __global__</c> function.</summary>
    /// <param name="name">The function.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="sharedBytes">Dynamic shared memory of a block.</param>
    public KernelFunction Function(string name, int threads, int sharedBytes = 0)
    {
        CudaDriver.Check(CudaDriver.GetFunction(out nint function, handle, name), $"cuModuleGetFunction({name}) of {_file}");
        if (sharedBytes > 48 * 1024)
        {
            CudaDriver.Check(
                CudaDriver.SetFunctionAttribute(function, CudaDriver.FunctionMaxDynamicSharedMemory, sharedBytes),
                $"{sharedBytes} bytes of shared memory for {name}");
        }

        return new KernelFunction(function, name, threads, sharedBytes);
    }

    protected override bool ReleaseHandle() => CudaDriver.UnloadModule(handle) == 0;
}
