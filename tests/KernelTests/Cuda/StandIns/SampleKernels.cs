using System.Text;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Launching;
using InferenceServer.TestKit.Cuda;

namespace InferenceServer.KernelTests.Cuda.StandIns;

/// <summary>The kernels of tests/CudaStandIn/samples, or of a text of PTX, launched by themselves.</summary>
internal sealed unsafe class SampleKernels : IDisposable
{
    private readonly KernelModule _module;
    private readonly List<ulong> _allocations = [];

    /// <param name="file">Such as "faults.cu".</param>
    /// <param name="kernels">Those of its kernels that are used.</param>
    public SampleKernels(string file, params string[] kernels)
        : this(file, Encoding.ASCII.GetBytes($"stand-in image\n{file}\n\n{string.Join('\n', kernels)}\n"))
    {
    }

    private SampleKernels(string file, byte[] image)
    {
        NativeLibraries.SearchFirst(StandIn.Folder);
        Device = CudaDevice.TryOpen(0, out CudaDevice? device, out string reason) ? device : throw new InvalidOperationException(reason);
        Stream = new CudaStream();
        try
        {
            _module = new KernelModule(file, image);
        }
        catch
        {
            Stream.Dispose();
            Device.Dispose();
            throw;
        }
    }

    /// <summary>A module of PTX, which is interpreted.</summary>
    public static SampleKernels OfPtx(string text) => new("PTX", Encoding.ASCII.GetBytes(text));

    public CudaDevice Device { get; }

    public CudaStream Stream { get; }

    /// <summary>Device memory, NaN or -1 where nobody has written.</summary>
    public ulong Allocate(int byteCount)
    {
        CudaDriver.Check(CudaDriver.Allocate(out ulong address, (nuint)byteCount), "cuMemAlloc");
        _allocations.Add(address);
        return address;
    }

    /// <summary>Device memory with a copy of some values.</summary>
    public ulong Upload<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        ulong address = Allocate(values.Length * sizeof(T));
        fixed (T* first = values)
        {
            CudaDriver.Check(CudaDriver.CopyToDevice(address, first, (nuint)(values.Length * sizeof(T)), Stream.Pointer), "copy");
        }

        return address;
    }

    public T[] Download<T>(ulong address, int count)
        where T : unmanaged
    {
        T[] values = new T[count];
        fixed (T* first = values)
        {
            CudaDriver.Check(CudaDriver.CopyToHost(first, address, (nuint)(count * sizeof(T)), Stream.Pointer), "copy");
        }

        Stream.Synchronize();
        return values;
    }

    /// <summary>Launches on <see cref="Stream"/>, or on another.</summary>
    public void Launch(string kernel, int blocks, int threads, int sharedBytes, CudaStream? stream, params ReadOnlySpan<KernelArgument> arguments)
    {
        LaunchList launches = new();
        launches.Add(_module.Function(kernel, threads, sharedBytes), new Grid(blocks), arguments);
        LaunchList.Launch(launches.Words, stream ?? Stream);
    }

    /// <summary>Launches and waits.</summary>
    public void Run(string kernel, int blocks, int threads, params ReadOnlySpan<KernelArgument> arguments)
    {
        Launch(kernel, blocks, threads, 0, null, arguments);
        Stream.Synchronize();
    }

    public void Dispose()
    {
        // A test may have left the device in an error that every call would give.
        StandIn.Reset();
        _allocations.ForEach(address => _ = CudaDriver.Free(address));
        _module.Dispose();
        Stream.Dispose();
        Device.Dispose();
    }
}
