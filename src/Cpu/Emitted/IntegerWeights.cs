using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// How the 16 values of NF4 become bytes. Four inputs of an output meet in one step of a product; which four is the layout's choice, and x is put in
/// the same order.
/// </summary>
internal static unsafe class IntegerWeights
{
    /// <summary>
    /// What a value of 1 becomes: of 100 to 127 the number by which the 16 values are rounded least, to 0.0017 of the block's largest in the mean and
    /// 0.0038 at most. Four bits leave out twenty times as much.
    /// </summary>
    public const int NF4Unit = 112;

    /// <summary>What a value of 0 becomes: vpdpbusd multiplies unsigned bytes of one side with signed ones of the other.</summary>
    public const int NF4Zero = 128;

    private static readonly byte* s_values = NF4Table();

    /// <summary>The bytes of NF4's 16 codes, four times, where no garbage collector moves them.</summary>
    public static byte* Values => s_values;

    /// <summary>
    /// Where each place of 16 inputs of x takes its element from: eight inputs of NF4 lie in 32 bits, of which the low halves of the bytes come first.
    /// </summary>
    public static Vector512<sbyte> NF4Order { get; } = Order();

    private static Vector512<sbyte> Order()
    {
        const int WordDepth = 8;
        Span<sbyte> order = stackalloc sbyte[Vector512<sbyte>.Count];
        for (int i = 0; i < order.Length; i++)
        {
            int place = i % WordDepth;
            order[i] = (sbyte)((i % Vector128<sbyte>.Count / WordDepth * WordDepth) + (place % 4 * 2) + (place / 4));
        }

        return Vector512.Create<sbyte>(order);
    }

    // Lives as long as the process.
    private static byte* NF4Table()
    {
        byte* table = (byte*)NativeMemory.AlignedAlloc(KernelParts.VectorBytes, KernelParts.VectorBytes);
        for (int i = 0; i < KernelParts.VectorBytes; i++)
        {
            table[i] = (byte)(NF4Zero + Math.Round(NormalFloat4.Values[i % NormalFloat4.Values.Length] * NF4Unit));
        }

        return table;
    }
}
