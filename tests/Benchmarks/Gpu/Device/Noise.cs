using System.Runtime.InteropServices;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Memory;

namespace InferenceServer.Benchmarks.Gpu.Device;

/// <summary>Device memory full of random bf16 numbers: of zeros, a device computes faster than of anything else.</summary>
internal static class Noise
{
    public static unsafe CudaBuffer Filled(CudaDevice device, long byteCount)
    {
        CudaBuffer buffer = new(device, byteCount, "noise");
        using CudaStream stream = new();
        ReadOnlySpan<byte> numbers = MemoryMarshal.AsBytes(RandomPool.Numbers);
        fixed (byte* first = numbers)
        {
            for (long at = 0; at < byteCount; at += numbers.Length)
            {
                CudaDriver.Check(
                    CudaDriver.CopyToDevice(buffer.Address + (ulong)at, first, (nuint)Math.Min(numbers.Length, byteCount - at), stream.Pointer), "cuMemcpyHtoD");
            }

            stream.Synchronize();
        }

        return buffer;
    }
}
