using InferenceServer.Benchmarks.Gpu.Device;
using InferenceServer.Benchmarks.Gpu.Results;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>What the device can do at most, as measured by the stage before; NaN where it was not.</summary>
/// <param name="BytesPerSecond">A copy on the device, bytes read and written.</param>
/// <param name="OperationsPerSecond">A large bf16 product by cuBLASLt.</param>
internal sealed record Ceilings(double BytesPerSecond, double OperationsPerSecond)
{
    public static Ceilings Read(GpuResults results) => new(
        1e9 * results.Find("device", DeviceStage.Subject, DeviceStage.Copy),
        1e12 * results.Find("device", DeviceStage.Subject, DeviceStage.Gemm));

    /// <summary>Seconds that work takes at least.</summary>
    public double Seconds(double bytes, double operations) => Math.Max(bytes / BytesPerSecond, operations / OperationsPerSecond);
}
