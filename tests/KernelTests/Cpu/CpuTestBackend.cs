using System.Runtime.Intrinsics;
using InferenceServer.Cpu;
using InferenceServer.Tensors;

namespace InferenceServer.KernelTests.Cpu;

/// <summary>Backends of a given vector width, or the widest that this processor (or child run) has below it.</summary>
internal static class CpuTestBackend
{
    public static int WidestBits =>
        Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : Vector128.IsHardwareAccelerated ? 128 : 32;

    public static IComputeBackend Create(int vectorBits, int threads) =>
        new CpuBackend(new CpuOptions
        {
            ThreadCount = threads,
            VectorBits = Math.Min(vectorBits, WidestBits),
            Products = CpuProducts.Vectors,
        });
}
