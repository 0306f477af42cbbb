using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Simd;

/// <summary>Rounds to the nearest bf16, ties to even, NaN to NaN, as <see cref="BFloat16.FromSingle"/> does.</summary>
internal static class BFloat16Rounding
{
    /// <summary>Eight at once; the bits in the low half of each lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Round(Vector256<float> values)
    {
        Vector256<uint> bits = values.AsUInt32();
        Vector256<uint> nearest = (bits + Vector256.Create(0x7fffu) + ((bits >> 16) & Vector256<uint>.One)) >> 16;
        Vector256<uint> quiet = (bits >> 16) | Vector256.Create(0x40u);
        return Vector256.ConditionalSelect(Vector256.Equals(values, values).AsUInt32(), nearest, quiet);
    }
}
