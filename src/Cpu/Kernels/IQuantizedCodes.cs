using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// How the codes of a quantised panel become values, before their scale: <see cref="StepDepth"/> successive inputs at a time, one vector
/// of outputs each.
/// </summary>
internal unsafe interface IQuantizedCodes
{
    /// <summary>Inputs of a step; divides every format's block.</summary>
    const int StepDepth = 8;

    /// <summary>Inputs that share a scale.</summary>
    static abstract int BlockDepth { get; }

    /// <summary>Bytes from one step to the next.</summary>
    static abstract int StepBytes { get; }

    /// <summary>Bytes between the last step of a block and the first of the next: the block's scales.</summary>
    static abstract int GapBytes { get; }

    /// <summary>Bytes from one output to the next.</summary>
    static abstract int ColumnBytes { get; }

    /// <summary>What a step's values are taken from.</summary>
    static abstract TVector Begin<TSimd, TVector>(byte* step)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct;

    /// <summary>Values of input <paramref name="k"/> of the step.</summary>
    /// <param name="table">The format's table of values, or null.</param>
    /// <param name="bits">As begun, moved on k times.</param>
    /// <param name="step">Codes of the step.</param>
    /// <param name="k">0 .. 7.</param>
    static abstract TVector Values<TSimd, TVector>(float* table, TVector bits, byte* step, int k)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct;

    /// <summary>Moves on to the next input.</summary>
    static abstract TVector Next<TSimd, TVector>(TVector bits)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct;
}

/// <summary>Signed bytes, two successive inputs of an output beside each other.</summary>
internal readonly unsafe struct Int8Codes : IQuantizedCodes
{
    public static int BlockDepth => GroupInt8.GroupSize;

    public static int StepBytes => IQuantizedCodes.StepDepth * PanelLayout.Width;

    public static int GapBytes => Int8Panels.Stride - QuantizedPanels.BlockBytes;

    public static int ColumnBytes => sizeof(short);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Begin<TSimd, TVector>(byte* step)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Values<TSimd, TVector>(float* table, TVector bits, byte* step, int k)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
    {
        short* pair = (short*)step + (k / 2 * PanelLayout.Width);
        return k % 2 == 0 ? TSimd.LoadSBytePairsFirst(pair) : TSimd.LoadSBytePairsSecond(pair);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Next<TSimd, TVector>(TVector bits)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => bits;
}

/// <summary>4 bits a code, 8 inputs of an output in 32 bits: a lane holds its output's, and the lowest 4 name the value.</summary>
internal readonly unsafe struct NF4Codes : IQuantizedCodes
{
    public static int BlockDepth => NormalFloat4.BlockSize;

    public static int StepBytes => NF4Panels.WordBytes;

    public static int GapBytes => NF4Panels.Stride - QuantizedPanels.BlockBytes;

    public static int ColumnBytes => sizeof(uint);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Begin<TSimd, TVector>(byte* step)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.Load((float*)step);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Values<TSimd, TVector>(float* table, TVector bits, byte* step, int k)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.LookUp(table, bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Next<TSimd, TVector>(TVector bits)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.ShiftBitsRight4(bits);
}
