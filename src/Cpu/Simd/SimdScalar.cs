using System.Runtime.CompilerServices;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Simd;

/// <summary>One lane: plain floats, for machines (and tests) without vector instructions.</summary>
internal readonly unsafe struct SimdScalar : ISimd<float>
{
    private const uint SignMask = 0x80000000;

    public static int Count => 1;

    public static int MaxRows => 4;

    public static float Zero => 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Broadcast(float value) => value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Load(float* source) => *source;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float value, float* target) => *target = value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float LoadBFloat16(ushort* source) => BFloat16.ToSingle(*source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float LoadPairsFirst(uint* source) => BitConverter.UInt32BitsToSingle(*source << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float LoadPairsSecond(uint* source) => BitConverter.UInt32BitsToSingle(*source & 0xffff0000);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float LoadSBytePairsFirst(short* source) => (sbyte)*source;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float LoadSBytePairsSecond(short* source) => *source >> 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float LookUp(float* table, float bits) => table[BitConverter.SingleToUInt32Bits(bits) & 15];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ShiftBitsRight4(float bits) => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(bits) >> 4);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Add(float left, float right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Subtract(float left, float right) => left - right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Multiply(float left, float right) => left * right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Divide(float left, float right) => left / right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MultiplyAdd(float left, float right, float addend) => float.MultiplyAddEstimate(left, right, addend);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Min(float bound, float value) => bound < value ? bound : value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Max(float bound, float value) => bound > value ? bound : value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Abs(float value) => MathF.Abs(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float CopySign(float magnitude, float sign) => BitConverter.UInt32BitsToSingle(
        (BitConverter.SingleToUInt32Bits(magnitude) & ~SignMask) | (BitConverter.SingleToUInt32Bits(sign) & SignMask));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float SelectLess(float left, float right, float whenLess, float otherwise) => left < right ? whenLess : otherwise;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ShiftBitsToExponent(float value) => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) << 23);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(float value) => value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Largest(float value) => value;
}
