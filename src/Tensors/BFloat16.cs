using System.Runtime.CompilerServices;

namespace InferenceServer.Tensors;

/// <summary>bf16 as its bits: the upper half of an IEEE f32. .NET has no such type, so it travels as <see cref="ushort"/>.</summary>
public static class BFloat16
{
    /// <summary>The f32 with the same value; exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ToSingle(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>Rounds to the nearest bf16, ties to even; NaN stays NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort FromSingle(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if ((bits & 0x7fffffff) > 0x7f800000)
        {
            // Truncating a NaN could clear every mantissa bit and leave an infinity; set the quiet bit instead.
            return (ushort)((bits >> 16) | 0x40);
        }

        return (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
}
