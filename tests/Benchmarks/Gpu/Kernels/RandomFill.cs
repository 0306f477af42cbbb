using System.Runtime.InteropServices;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Tensors;

namespace InferenceServer.Benchmarks.Gpu.Kernels;

/// <summary>Random numbers for what kernels read.</summary>
internal static class RandomFill
{
    /// <summary>Fills a buffer of f32.</summary>
    public static void Write(IComputeBackend backend, DeviceBuffer buffer)
    {
        float[] values = new float[buffer.ByteCount / sizeof(float)];
        Read(0, values);
        backend.Write(values, buffer);
    }

    /// <summary>Rows of a weight matrix.</summary>
    public static WeightRowReader Rows(int columns) => (first, target) => Read((long)first * columns, target);

    /// <summary>Numbers from a place on.</summary>
    public static void Read(long start, Span<float> target)
    {
        ReadOnlySpan<ushort> numbers = RandomPool.Numbers;
        for (int at = (int)(start % numbers.Length); target.Length > 0; at = 0)
        {
            ReadOnlySpan<ushort> piece = numbers.Slice(at, Math.Min(numbers.Length - at, target.Length));
            FloatConversion.ToSingle(DType.BF16, MemoryMarshal.AsBytes(piece), target);
            target = target[piece.Length..];
        }
    }
}
