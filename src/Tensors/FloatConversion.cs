using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace InferenceServer.Tensors;

/// <summary>Stored weights to f32, which is exact, and back, which rounds.</summary>
public static class FloatConversion
{
    /// <summary>Converts little-endian elements of a weight type to f32.</summary>
    /// <param name="type">F32, F16 or BF16.</param>
    /// <param name="source">The stored bytes.</param>
    /// <param name="destination">As many elements as <paramref name="source"/> holds.</param>
    public static void ToSingle(DType type, ReadOnlySpan<byte> source, Span<float> destination)
    {
        switch (type)
        {
            case DType.F32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                break;
            case DType.F16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source), destination);
                break;
            case DType.BF16:
                WidenBFloat16(MemoryMarshal.Cast<byte, ushort>(source), destination);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "not a weight type");
        }
    }

    /// <summary>Rounds f32 elements to the nearest of a weight type; beyond what F16 holds they become infinite.</summary>
    /// <param name="type">F32, F16 or BF16.</param>
    /// <param name="source">The elements.</param>
    /// <param name="destination">Receives as many little-endian elements.</param>
    public static void FromSingle(DType type, ReadOnlySpan<float> source, Span<byte> destination)
    {
        switch (type)
        {
            case DType.F32:
                MemoryMarshal.AsBytes(source).CopyTo(destination);
                break;
            case DType.F16:
                TensorPrimitives.ConvertToHalf(source, MemoryMarshal.Cast<byte, Half>(destination));
                break;
            case DType.BF16:
                RoundToBFloat16(source, MemoryMarshal.Cast<byte, ushort>(destination));
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "not a weight type");
        }
    }

    /// <summary>The largest magnitude of stored elements; infinite or NaN when one of them is.</summary>
    /// <param name="type">F32, F16 or BF16.</param>
    /// <param name="source">The stored bytes.</param>
    public static float LargestMagnitude(DType type, ReadOnlySpan<byte> source) => type switch
    {
        // Without its sign a float's bits are in the order of its value, with infinity and NaN above all.
        DType.F32 => BitConverter.UInt32BitsToSingle(LargestBits(MemoryMarshal.Cast<byte, uint>(source), 0x7fff_ffffu)),
        DType.F16 => (float)BitConverter.UInt16BitsToHalf(LargestBits<ushort>(MemoryMarshal.Cast<byte, ushort>(source), 0x7fff)),
        DType.BF16 => BFloat16.ToSingle(LargestBits<ushort>(MemoryMarshal.Cast<byte, ushort>(source), 0x7fff)),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not a weight type"),
    };

    private static T LargestBits<T>(ReadOnlySpan<T> bits, T mask)
        where T : unmanaged, IBinaryInteger<T>
    {
        Vector512<T> magnitude = Vector512.Create(mask);
        Vector512<T> largest = Vector512<T>.Zero;
        int i = 0;
        for (; i <= bits.Length - Vector512<T>.Count; i += Vector512<T>.Count)
        {
            largest = Vector512.Max(largest, Vector512.Create(bits[i..]) & magnitude);
        }

        T most = T.Zero;
        for (int lane = 0; lane < Vector512<T>.Count; lane++)
        {
            most = T.Max(most, largest[lane]);
        }

        for (; i < bits.Length; i++)
        {
            most = T.Max(most, bits[i] & mask);
        }

        return most;
    }

    private static void WidenBFloat16(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        int i = 0;
        for (; i <= source.Length - Vector128<ushort>.Count; i += Vector128<ushort>.Count)
        {
            // A bf16 is the upper half of an f32: widen each lane to 32 bits and shift it up.
            (Vector128<uint> low, Vector128<uint> high) = Vector128.Widen(Vector128.Create(source[i..]));
            (low << 16).AsSingle().CopyTo(destination[i..]);
            (high << 16).AsSingle().CopyTo(destination[(i + Vector128<uint>.Count)..]);
        }

        for (; i < source.Length; i++)
        {
            destination[i] = BFloat16.ToSingle(source[i]);
        }
    }

    // BFloat16.FromSingle by lanes.
    private static void RoundToBFloat16(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        int i = 0;
        for (; i <= source.Length - Vector256<ushort>.Count; i += Vector256<ushort>.Count)
        {
            Vector256<uint> low = Round(Vector256.Create(source[i..]));
            Vector256<uint> high = Round(Vector256.Create(source[(i + Vector256<float>.Count)..]));
            Vector256.Narrow(low, high).CopyTo(destination[i..]);
        }

        for (; i < source.Length; i++)
        {
            destination[i] = BFloat16.FromSingle(source[i]);
        }
    }

    private static Vector256<uint> Round(Vector256<float> values)
    {
        Vector256<uint> bits = values.AsUInt32();
        Vector256<uint> upper = bits >>> 16;
        Vector256<uint> rounded = (bits + Vector256.Create(0x7fffu) + (upper & Vector256<uint>.One)) >>> 16;
        return Vector256.ConditionalSelect(Vector256.IsNaN(values).AsUInt32(), upper | Vector256.Create(0x40u), rounded);
    }
}
