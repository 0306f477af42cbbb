using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Runtime.InteropServices;
using InferenceServer.Cuda.Interop;

namespace InferenceServer.Cuda.Devices;

/// <summary>One device and its primary context, which every library of the process shares.</summary>
internal sealed unsafe class CudaDevice : IDisposable
{
    private readonly int _device;
    private nint _context;

    private CudaDevice(int ordinal)
    {
        CudaDriver.Check(CudaDriver.GetDevice(out _device, ordinal), $"cuDeviceGet({ordinal})");
        CudaDriver.Check(CudaDriver.RetainPrimaryContext(out _context, _device), "cuDevicePrimaryCtxRetain");
        try
        {
            MakeCurrent();
            ComputeCapability = (Attribute(CudaDriver.ComputeCapabilityMajor) * 10) + Attribute(CudaDriver.ComputeCapabilityMinor);
            Multiprocessors = Attribute(CudaDriver.MultiprocessorCount);
            MaxSharedBytes = Attribute(CudaDriver.MaxSharedMemoryOptIn);
            byte* name = stackalloc byte[256];
            CudaDriver.Check(CudaDriver.GetDeviceName(name, 256, _device), "cuDeviceGetName");
            Name = Marshal.PtrToStringUTF8((nint)name) ?? "";
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Name { get; }

    /// <summary>The context; 0 once disposed.</summary>
    public nint Context => _context;

    /// <summary>Major version times ten plus the minor: 80 for A100, 90 for H100 and H200.</summary>
    public int ComputeCapability { get; }

    public int Multiprocessors { get; }

    /// <summary>Most shared memory of a block, bytes.</summary>
    public int MaxSharedBytes { get; }

    /// <summary>Bytes of device memory: free now, and all.</summary>
    public (long Free, long Total) Memory
    {
        get
        {
            MakeCurrent();
            CudaDriver.Check(CudaDriver.GetMemoryInfo(out nuint free, out nuint total), "cuMemGetInfo");
            return ((long)free, (long)total);
        }
    }

    /// <summary>Opens a device; where CUDA cannot be used, says why.</summary>
    /// <param name="ordinal">Number of the device.</param>
    /// <param name="device">The device.</param>
    /// <param name="reason">What is missing.</param>
    public static bool TryOpen(int ordinal, [NotNullWhen(true)] out CudaDevice? device, out string reason)
    {
        device = null;
        if (!NativeLibraries.IsAvailable(NativeLibraries.Driver))
        {
            reason = Missing(NativeLibraries.Driver, 0);
            return false;
        }

        int result = CudaDriver.Initialize(0);
        if (result != 0)
        {
            reason = $"cuInit gave {CudaDriver.Describe(result)}";
            return false;
        }

        CudaDriver.Check(CudaDriver.GetVersion(out int version), "cuDriverGetVersion");
        NativeLibraries.UseUpTo(version / 1000);
        foreach (string library in (string[])[NativeLibraries.Nvrtc, NativeLibraries.CublasLt])
        {
            if (!NativeLibraries.IsAvailable(library))
            {
                reason = string.Create(CultureInfo.InvariantCulture, $"{Missing(library, version / 1000)}; the driver is for CUDA {version / 1000}.{version % 1000 / 10}");
                return false;
            }
        }

        CudaDriver.Check(CudaDriver.GetDeviceCount(out int count), "cuDeviceGetCount");
        if ((uint)ordinal >= (uint)count)
        {
            reason = string.Create(CultureInfo.InvariantCulture, $"device {ordinal} was asked for and there are {count}");
            return false;
        }

        device = new CudaDevice(ordinal);
        if (device.ComputeCapability < 80)
        {
            reason = string.Create(CultureInfo.InvariantCulture, $"{device.Name} has compute capability {device.ComputeCapability / 10}.{device.ComputeCapability % 10}, 8.0 is needed");
            device.Dispose();
            device = null;
            return false;
        }

        reason = "";
        return true;
    }

    /// <summary>Gives this thread the context; every thread needs it before its first call.</summary>
    public void MakeCurrent() => CudaDriver.Check(CudaDriver.SetCurrentContext(_context), "cuCtxSetCurrent");

    public void Dispose()
    {
        if (_context != 0)
        {
            _context = 0;
            _ = CudaDriver.ReleasePrimaryContext(_device);
        }
    }

    private static string Missing(string library, int newest) => $"none of {string.Join(", ", NativeLibraries.FilesOf(library, newest))} was found";

    private int Attribute(int attribute)
    {
        CudaDriver.Check(CudaDriver.GetDeviceAttribute(out int value, attribute, _device), "cuDeviceGetAttribute");
        return value;
    }
}
