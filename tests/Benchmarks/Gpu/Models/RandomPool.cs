using System.Runtime.InteropServices;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>
/// Random bf16 numbers, made once and written many times from different places: weights need only be as restless as real ones, because a
/// device computes zeros faster, and making billions of numbers would take minutes.
/// </summary>
internal static class RandomPool
{
    private const int Count = 1 << 24;
    private const float StandardDeviation = 0.02f; // transformers' initializer_range

    private static readonly Lazy<ushort[]> s_numbers = new(Make);

    /// <summary>All of them, as bf16.</summary>
    public static ReadOnlySpan<ushort> Numbers => s_numbers.Value;

    /// <summary>A tensor of numbers around 0.</summary>
    public static SafetensorsWriter.Source Tensor(string name, params long[] shape)
    {
        long count = shape.Aggregate(1L, (product, dimension) => product * dimension);
        return new SafetensorsWriter.Source(name, DType.BF16, shape, stream => Write(stream, count, Start(name)));
    }

    /// <summary>A norm's weights: ones.</summary>
    public static SafetensorsWriter.Source Ones(string name, int count)
    {
        ushort[] ones = new ushort[count];
        Array.Fill(ones, BFloat16.FromSingle(1));
        return new SafetensorsWriter.Source(name, DType.BF16, [count], stream => stream.Write(MemoryMarshal.AsBytes<ushort>(ones)));
    }

    /// <summary>A place of its own for each name, the same in every run.</summary>
    private static int Start(string name)
    {
        uint hash = 2166136261;
        foreach (char letter in name)
        {
            hash = (hash ^ letter) * 16777619;
        }

        return (int)(hash % Count);
    }

    private static void Write(Stream stream, long count, int start)
    {
        for (long left = count; left > 0;)
        {
            int piece = (int)Math.Min(left, Count - start);
            stream.Write(MemoryMarshal.AsBytes(s_numbers.Value.AsSpan(start, piece)));
            left -= piece;
            start = 0;
        }
    }

    private static ushort[] Make()
    {
        ushort[] numbers = new ushort[Count];
        const int Piece = 1 << 20;
        float range = StandardDeviation * MathF.Sqrt(12);
        Parallel.For(0, Count / Piece, i =>
        {
            Random random = new(i);
            foreach (ref ushort number in numbers.AsSpan(i * Piece, Piece))
            {
                number = BFloat16.FromSingle((random.NextSingle() - 0.5f) * range);
            }
        });
        return numbers;
    }
}
