using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// The multiplication by quantised weights for a few rows: <c>c[r, n] = sum over k of x[r, k] * (value(code[k, n]) * scale[k / block, n])</c>.
/// Weights become f32 in registers; each element is one chain of multiply-adds in the order of k, so it has the bits that
/// <see cref="PanelKernel{TSimd, TVector, TElement}"/> gives for the unpacked weights.
/// </summary>
/// <remarks>
/// A lane is an output. b are the codes of two vectors of outputs from the first input of a block on, s their unpacked scales,
/// <c>[blocks][32]</c>; c has the outputs side by side. One row: the time is that of reading codes and turning them into weights, so two
/// panels go side by side, two streams of memory. More rows share each weight; their x is interleaved, <c>[k][rows]</c>.
/// </remarks>
internal static unsafe class QuantizedKernel<TSimd, TVector, TCodes>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TCodes : struct, IQuantizedCodes
{
    /// <summary>One row, four vectors of outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows1(
        float* x, byte* b0, byte* b2, float* s0, float* s2, int depth, float* c, bool resume)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a02 = TSimd.Zero;
        TVector a03 = TSimd.Zero;
        if (resume)
        {
            a00 = TSimd.Load(c);
            a01 = TSimd.Load(c + TSimd.Count);
            a02 = TSimd.Load(c + (2 * TSimd.Count));
            a03 = TSimd.Load(c + (3 * TSimd.Count));
        }

        float* table = NF4Panels.Values;
        int second = TSimd.Count * TCodes.ColumnBytes;
        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + TCodes.BlockDepth, depth);
            TVector scale0 = TSimd.Load(s0);
            TVector scale1 = TSimd.Load(s0 + TSimd.Count);
            TVector scale2 = TSimd.Load(s2);
            TVector scale3 = TSimd.Load(s2 + TSimd.Count);
            s0 += PanelLayout.Width;
            s2 += PanelLayout.Width;
            while (k < end)
            {
                Prefetch(b0);
                Prefetch(b2);
                TVector bits0 = TCodes.Begin<TSimd, TVector>(b0);
                TVector bits1 = TCodes.Begin<TSimd, TVector>(b0 + second);
                TVector bits2 = TCodes.Begin<TSimd, TVector>(b2);
                TVector bits3 = TCodes.Begin<TSimd, TVector>(b2 + second);
                int count = Math.Min(IQuantizedCodes.StepDepth, end - k);
                k += count;
                for (int i = 0; i < count; i++)
                {
                    TVector w0 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits0, b0, i), scale0);
                    TVector w1 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits1, b0 + second, i), scale1);
                    TVector w2 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits2, b2, i), scale2);
                    TVector w3 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits3, b2 + second, i), scale3);
                    bits0 = TCodes.Next<TSimd, TVector>(bits0);
                    bits1 = TCodes.Next<TSimd, TVector>(bits1);
                    bits2 = TCodes.Next<TSimd, TVector>(bits2);
                    bits3 = TCodes.Next<TSimd, TVector>(bits3);
                    TVector factor = TSimd.Broadcast(x[0]);
                    a00 = TSimd.MultiplyAdd(w0, factor, a00);
                    a01 = TSimd.MultiplyAdd(w1, factor, a01);
                    a02 = TSimd.MultiplyAdd(w2, factor, a02);
                    a03 = TSimd.MultiplyAdd(w3, factor, a03);
                    x++;
                }

                b0 += TCodes.StepBytes;
                b2 += TCodes.StepBytes;
            }

            b0 += TCodes.GapBytes;
            b2 += TCodes.GapBytes;
        }

        TSimd.Store(a00, c);
        TSimd.Store(a01, c + TSimd.Count);
        TSimd.Store(a02, c + (2 * TSimd.Count));
        TSimd.Store(a03, c + (3 * TSimd.Count));
    }

    /// <summary>Two rows, two vectors of outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Interleaved2(
        float* x, byte* b, float* s, int depth, float* c, nint cStride, bool resume)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        if (resume)
        {
            a00 = TSimd.Load(c);
            a01 = TSimd.Load(c + TSimd.Count);
            a10 = TSimd.Load(c + cStride);
            a11 = TSimd.Load(c + cStride + TSimd.Count);
        }

        float* table = NF4Panels.Values;
        int second = TSimd.Count * TCodes.ColumnBytes;
        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + TCodes.BlockDepth, depth);
            TVector scale0 = TSimd.Load(s);
            TVector scale1 = TSimd.Load(s + TSimd.Count);
            s += PanelLayout.Width;
            while (k < end)
            {
                Prefetch(b);
                TVector bits0 = TCodes.Begin<TSimd, TVector>(b);
                TVector bits1 = TCodes.Begin<TSimd, TVector>(b + second);
                int count = Math.Min(IQuantizedCodes.StepDepth, end - k);
                k += count;
                for (int i = 0; i < count; i++)
                {
                    TVector w0 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits0, b, i), scale0);
                    TVector w1 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits1, b + second, i), scale1);
                    bits0 = TCodes.Next<TSimd, TVector>(bits0);
                    bits1 = TCodes.Next<TSimd, TVector>(bits1);
                    TVector factor = TSimd.Broadcast(x[0]);
                    a00 = TSimd.MultiplyAdd(w0, factor, a00);
                    a01 = TSimd.MultiplyAdd(w1, factor, a01);
                    factor = TSimd.Broadcast(x[1]);
                    a10 = TSimd.MultiplyAdd(w0, factor, a10);
                    a11 = TSimd.MultiplyAdd(w1, factor, a11);
                    x += 2;
                }

                b += TCodes.StepBytes;
            }

            b += TCodes.GapBytes;
        }

        TSimd.Store(a00, c);
        TSimd.Store(a01, c + TSimd.Count);
        TSimd.Store(a10, c + cStride);
        TSimd.Store(a11, c + cStride + TSimd.Count);
    }

    /// <summary>Four rows, two vectors of outputs; at most 8 accumulators.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Interleaved4(
        float* x, byte* b, float* s, int depth, float* c, nint cStride, bool resume)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        TVector a20 = TSimd.Zero;
        TVector a21 = TSimd.Zero;
        TVector a30 = TSimd.Zero;
        TVector a31 = TSimd.Zero;
        if (resume)
        {
            a00 = TSimd.Load(c);
            a01 = TSimd.Load(c + TSimd.Count);
            a10 = TSimd.Load(c + cStride);
            a11 = TSimd.Load(c + cStride + TSimd.Count);
            a20 = TSimd.Load(c + (2 * cStride));
            a21 = TSimd.Load(c + (2 * cStride) + TSimd.Count);
            a30 = TSimd.Load(c + (3 * cStride));
            a31 = TSimd.Load(c + (3 * cStride) + TSimd.Count);
        }

        float* table = NF4Panels.Values;
        int second = TSimd.Count * TCodes.ColumnBytes;
        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + TCodes.BlockDepth, depth);
            TVector scale0 = TSimd.Load(s);
            TVector scale1 = TSimd.Load(s + TSimd.Count);
            s += PanelLayout.Width;
            while (k < end)
            {
                Prefetch(b);
                TVector bits0 = TCodes.Begin<TSimd, TVector>(b);
                TVector bits1 = TCodes.Begin<TSimd, TVector>(b + second);
                int count = Math.Min(IQuantizedCodes.StepDepth, end - k);
                k += count;
                for (int i = 0; i < count; i++)
                {
                    TVector w0 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits0, b, i), scale0);
                    TVector w1 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits1, b + second, i), scale1);
                    bits0 = TCodes.Next<TSimd, TVector>(bits0);
                    bits1 = TCodes.Next<TSimd, TVector>(bits1);
                    TVector factor = TSimd.Broadcast(x[0]);
                    a00 = TSimd.MultiplyAdd(w0, factor, a00);
                    a01 = TSimd.MultiplyAdd(w1, factor, a01);
                    factor = TSimd.Broadcast(x[1]);
                    a10 = TSimd.MultiplyAdd(w0, factor, a10);
                    a11 = TSimd.MultiplyAdd(w1, factor, a11);
                    factor = TSimd.Broadcast(x[2]);
                    a20 = TSimd.MultiplyAdd(w0, factor, a20);
                    a21 = TSimd.MultiplyAdd(w1, factor, a21);
                    factor = TSimd.Broadcast(x[3]);
                    a30 = TSimd.MultiplyAdd(w0, factor, a30);
                    a31 = TSimd.MultiplyAdd(w1, factor, a31);
                    x += 4;
                }

                b += TCodes.StepBytes;
            }

            b += TCodes.GapBytes;
        }

        TSimd.Store(a00, c);
        TSimd.Store(a01, c + TSimd.Count);
        TSimd.Store(a10, c + cStride);
        TSimd.Store(a11, c + cStride + TSimd.Count);
        TSimd.Store(a20, c + (2 * cStride));
        TSimd.Store(a21, c + (2 * cStride) + TSimd.Count);
        TSimd.Store(a30, c + (3 * cStride));
        TSimd.Store(a31, c + (3 * cStride) + TSimd.Count);
    }

    /// <summary>Eight rows, two vectors of outputs: for 32 registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Interleaved8(
        float* x, byte* b, float* s, int depth, float* c, nint cStride, bool resume)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        TVector a20 = TSimd.Zero;
        TVector a21 = TSimd.Zero;
        TVector a30 = TSimd.Zero;
        TVector a31 = TSimd.Zero;
        TVector a40 = TSimd.Zero;
        TVector a41 = TSimd.Zero;
        TVector a50 = TSimd.Zero;
        TVector a51 = TSimd.Zero;
        TVector a60 = TSimd.Zero;
        TVector a61 = TSimd.Zero;
        TVector a70 = TSimd.Zero;
        TVector a71 = TSimd.Zero;
        if (resume)
        {
            a00 = TSimd.Load(c);
            a01 = TSimd.Load(c + TSimd.Count);
            a10 = TSimd.Load(c + cStride);
            a11 = TSimd.Load(c + cStride + TSimd.Count);
            a20 = TSimd.Load(c + (2 * cStride));
            a21 = TSimd.Load(c + (2 * cStride) + TSimd.Count);
            a30 = TSimd.Load(c + (3 * cStride));
            a31 = TSimd.Load(c + (3 * cStride) + TSimd.Count);
            a40 = TSimd.Load(c + (4 * cStride));
            a41 = TSimd.Load(c + (4 * cStride) + TSimd.Count);
            a50 = TSimd.Load(c + (5 * cStride));
            a51 = TSimd.Load(c + (5 * cStride) + TSimd.Count);
            a60 = TSimd.Load(c + (6 * cStride));
            a61 = TSimd.Load(c + (6 * cStride) + TSimd.Count);
            a70 = TSimd.Load(c + (7 * cStride));
            a71 = TSimd.Load(c + (7 * cStride) + TSimd.Count);
        }

        float* table = NF4Panels.Values;
        int second = TSimd.Count * TCodes.ColumnBytes;
        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + TCodes.BlockDepth, depth);
            TVector scale0 = TSimd.Load(s);
            TVector scale1 = TSimd.Load(s + TSimd.Count);
            s += PanelLayout.Width;
            while (k < end)
            {
                Prefetch(b);
                TVector bits0 = TCodes.Begin<TSimd, TVector>(b);
                TVector bits1 = TCodes.Begin<TSimd, TVector>(b + second);
                int count = Math.Min(IQuantizedCodes.StepDepth, end - k);
                k += count;
                for (int i = 0; i < count; i++)
                {
                    TVector w0 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits0, b, i), scale0);
                    TVector w1 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits1, b + second, i), scale1);
                    bits0 = TCodes.Next<TSimd, TVector>(bits0);
                    bits1 = TCodes.Next<TSimd, TVector>(bits1);
                    TVector factor = TSimd.Broadcast(x[0]);
                    a00 = TSimd.MultiplyAdd(w0, factor, a00);
                    a01 = TSimd.MultiplyAdd(w1, factor, a01);
                    factor = TSimd.Broadcast(x[1]);
                    a10 = TSimd.MultiplyAdd(w0, factor, a10);
                    a11 = TSimd.MultiplyAdd(w1, factor, a11);
                    factor = TSimd.Broadcast(x[2]);
                    a20 = TSimd.MultiplyAdd(w0, factor, a20);
                    a21 = TSimd.MultiplyAdd(w1, factor, a21);
                    factor = TSimd.Broadcast(x[3]);
                    a30 = TSimd.MultiplyAdd(w0, factor, a30);
                    a31 = TSimd.MultiplyAdd(w1, factor, a31);
                    factor = TSimd.Broadcast(x[4]);
                    a40 = TSimd.MultiplyAdd(w0, factor, a40);
                    a41 = TSimd.MultiplyAdd(w1, factor, a41);
                    factor = TSimd.Broadcast(x[5]);
                    a50 = TSimd.MultiplyAdd(w0, factor, a50);
                    a51 = TSimd.MultiplyAdd(w1, factor, a51);
                    factor = TSimd.Broadcast(x[6]);
                    a60 = TSimd.MultiplyAdd(w0, factor, a60);
                    a61 = TSimd.MultiplyAdd(w1, factor, a61);
                    factor = TSimd.Broadcast(x[7]);
                    a70 = TSimd.MultiplyAdd(w0, factor, a70);
                    a71 = TSimd.MultiplyAdd(w1, factor, a71);
                    x += 8;
                }

                b += TCodes.StepBytes;
            }

            b += TCodes.GapBytes;
        }

        TSimd.Store(a00, c);
        TSimd.Store(a01, c + TSimd.Count);
        TSimd.Store(a10, c + cStride);
        TSimd.Store(a11, c + cStride + TSimd.Count);
        TSimd.Store(a20, c + (2 * cStride));
        TSimd.Store(a21, c + (2 * cStride) + TSimd.Count);
        TSimd.Store(a30, c + (3 * cStride));
        TSimd.Store(a31, c + (3 * cStride) + TSimd.Count);
        TSimd.Store(a40, c + (4 * cStride));
        TSimd.Store(a41, c + (4 * cStride) + TSimd.Count);
        TSimd.Store(a50, c + (5 * cStride));
        TSimd.Store(a51, c + (5 * cStride) + TSimd.Count);
        TSimd.Store(a60, c + (6 * cStride));
        TSimd.Store(a61, c + (6 * cStride) + TSimd.Count);
        TSimd.Store(a70, c + (7 * cStride));
        TSimd.Store(a71, c + (7 * cStride) + TSimd.Count);
    }

    /// <summary>Asks for the codes of a later step, line by line: the memory's latency times one core's share of its bandwidth ahead.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* step)
    {
        const int AheadBytes = 4096;
        const int LineBytes = 64;
        if (!Sse.IsSupported)
        {
            return;
        }

        // Only hints: an address past the end of the weights does no harm. Steps are two or four lines.
        byte* address = step + AheadBytes;
        Sse.Prefetch0(address);
        Sse.Prefetch0(address + LineBytes);
        if (TCodes.StepBytes > 2 * LineBytes)
        {
            Sse.Prefetch0(address + (2 * LineBytes));
            Sse.Prefetch0(address + (3 * LineBytes));
        }
    }
}
