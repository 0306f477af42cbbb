using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// How quantised weights become 16-bit integers. Two inputs of an output make a pair; which ones is the format's choice, and x is put in the
/// same order.
/// </summary>
internal static unsafe class IntegerWeights
{
    /// <summary>
    /// What an NF4 value of 1 becomes. With x up to 32639 and 32 products a sum this is the most that 32 bits hold; the rounding of values
    /// (at most 2.4e-4 of the block's largest) is lost beside what 4 bits leave out.
    /// </summary>
    private const int NF4Unit = 2047;

    private static readonly short* s_values = NF4Table();
    private static readonly Vector512<short> s_nf4Order = NF4Order();

    /// <summary>The values of NF4's 16 codes, twice, where no garbage collector moves them.</summary>
    public static short* Values => s_values;

    /// <summary>What the scales of x are multiplied by.</summary>
    public static float Unit(WeightFormat format) => format == WeightFormat.NF4 ? 1f / NF4Unit : 1f;

    /// <summary>Where each place of 32 inputs of x takes its element from.</summary>
    public static Vector512<short> Order(WeightFormat format) => format == WeightFormat.NF4 ? s_nf4Order : Vector512<short>.Indices;

    private static Vector512<short> NF4Order()
    {
        // Eight inputs of NF4 lie in 32 bits; their pairs are four apart. Bytes of int8 lie input by input.
        Span<short> order = stackalloc short[Vector512<short>.Count];
        for (int i = 0; i < order.Length; i++)
        {
            order[i] = (short)((i / 8 * 8) + (i % 8 / 2) + (i % 2 * 4));
        }

        return Vector512.Create<short>(order);
    }

    // Lives as long as the process.
    private static short* NF4Table()
    {
        short* table = (short*)NativeMemory.AlignedAlloc(KernelParts.VectorBytes, KernelParts.VectorBytes);
        for (int i = 0; i < Vector512<short>.Count; i++)
        {
            table[i] = (short)Math.Round(NormalFloat4.Values[i % NormalFloat4.Values.Length] * NF4Unit);
        }

        return table;
    }
}
