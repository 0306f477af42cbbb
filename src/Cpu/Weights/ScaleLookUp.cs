using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cpu.Weights;

/// <summary>
/// Looks up the values of 64 codes of <see cref="DynamicByte"/> at once, byte by byte of the f32: two registers hold a byte of 128 values, so
/// that a table of 256 is two permutations and a choice. One by one, the scales took a third of the time of a product with one row.
/// </summary>
internal static unsafe class ScaleLookUp
{
    /// <summary>Codes of a call.</summary>
    public const int Count = 64;

    private const int Values = 256;

    // One table for each byte of the values, where no garbage collector moves them; and the order of the codes.
    private static readonly byte* s_tables = Tables();

    /// <summary>Whether the processor has the permutations.</summary>
    public static bool IsSupported => Avx512Vbmi.IsSupported && Avx512BW.IsSupported;

    /// <summary>The values of 64 codes, in four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Find(byte* codes, out Vector512<float> first, out Vector512<float> second, out Vector512<float> third, out Vector512<float> fourth)
    {
        byte* tables = s_tables;
        Vector512<byte> ordered = Avx512Vbmi.PermuteVar64x8(Vector512.Load(codes), Vector512.Load(tables + (sizeof(float) * Values)));
        Vector512<byte> byte0 = Find(ordered, tables);
        Vector512<byte> byte1 = Find(ordered, tables + Values);
        Vector512<byte> byte2 = Find(ordered, tables + (2 * Values));
        Vector512<byte> byte3 = Find(ordered, tables + (3 * Values));
        Vector512<ushort> lowLow = Avx512BW.UnpackLow(byte0, byte1).AsUInt16();
        Vector512<ushort> lowHigh = Avx512BW.UnpackLow(byte2, byte3).AsUInt16();
        Vector512<ushort> highLow = Avx512BW.UnpackHigh(byte0, byte1).AsUInt16();
        Vector512<ushort> highHigh = Avx512BW.UnpackHigh(byte2, byte3).AsUInt16();
        first = Avx512BW.UnpackLow(lowLow, lowHigh).AsSingle();
        second = Avx512BW.UnpackHigh(lowLow, lowHigh).AsSingle();
        third = Avx512BW.UnpackLow(highLow, highHigh).AsSingle();
        fourth = Avx512BW.UnpackHigh(highLow, highHigh).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> Find(Vector512<byte> codes, byte* table)
    {
        // The permutation looks at the lowest 7 bits; the eighth chooses the half.
        Vector512<byte> low = Avx512Vbmi.PermuteVar64x8x2(Vector512.Load(table), codes, Vector512.Load(table + 64));
        Vector512<byte> high = Avx512Vbmi.PermuteVar64x8x2(Vector512.Load(table + 128), codes, Vector512.Load(table + 192));
        return Vector512.ConditionalSelect(Vector512.LessThan(codes.AsSByte(), Vector512<sbyte>.Zero).AsByte(), high, low);
    }

    // Lives as long as the process.
    private static byte* Tables()
    {
        const int LaneBytes = 16;
        byte* tables = (byte*)NativeMemory.AlignedAlloc((sizeof(float) * Values) + Count, Count);
        for (int value = 0; value < Values; value++)
        {
            uint bits = BitConverter.SingleToUInt32Bits(DynamicByte.Values[value]);
            for (int i = 0; i < sizeof(float); i++)
            {
                tables[(i * Values) + value] = (byte)(bits >> (8 * i));
            }
        }

        // Unpacking takes four codes of each lane of 16 for each vector: put them there.
        for (int place = 0; place < Count; place++)
        {
            int lane = place / LaneBytes;
            int vector = place % LaneBytes / sizeof(float);
            tables[(sizeof(float) * Values) + place] = (byte)((vector * LaneBytes) + (lane * sizeof(float)) + (place % sizeof(float)));
        }

        return tables;
    }
}
