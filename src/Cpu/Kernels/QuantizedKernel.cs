using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// The multiplication by quantised weights for a few rows: <c>c[r, n] = sum over k of x[r, k] * (value(code[k, n]) * scale[k / block, n])</c>.
/// Weights become f32 in registers; each element is one chain of multiply-adds in the order of k, so it has the bits that
/// <see cref="PanelKernel{TSimd, TVector, TElement}"/> gives for the unpacked weights.
/// </summary>
/// <remarks>
/// A lane is an output. b are the codes of vectors of outputs from the first input of a block on, s their unpacked scales,
/// <c>[blocks][32]</c>. With one row the time is that of turning codes into weights and of reading them: four vectors, which are two panels
/// and two streams of memory where vectors are wide. With more rows each weight serves them all.
/// </remarks>
internal static unsafe class QuantizedKernel<TSimd, TVector, TCodes>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TCodes : struct, IQuantizedCodes
{
    /// <summary>One row, four vectors of outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows1(
        float* x,
        byte* b0,
        byte* b1,
        byte* b2,
        byte* b3,
        float* s0,
        float* s1,
        float* s2,
        float* s3,
        int depth,
        float* c0,
        float* c1,
        float* c2,
        float* c3,
        bool resume)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a02 = TSimd.Zero;
        TVector a03 = TSimd.Zero;
        if (resume)
        {
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
            a02 = TSimd.Load(c2);
            a03 = TSimd.Load(c3);
        }

        float* table = NF4Panels.Values;
        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + TCodes.BlockDepth, depth);
            TVector scale0 = TSimd.Load(s0);
            TVector scale1 = TSimd.Load(s1);
            TVector scale2 = TSimd.Load(s2);
            TVector scale3 = TSimd.Load(s3);
            s0 += PanelLayout.Width;
            s1 += PanelLayout.Width;
            s2 += PanelLayout.Width;
            s3 += PanelLayout.Width;
            while (k < end)
            {
                SoftwarePrefetch.Ahead(b0);
                SoftwarePrefetch.Ahead(b1);
                SoftwarePrefetch.Ahead(b2);
                SoftwarePrefetch.Ahead(b3);
                TVector bits0 = TCodes.Begin<TSimd, TVector>(b0);
                TVector bits1 = TCodes.Begin<TSimd, TVector>(b1);
                TVector bits2 = TCodes.Begin<TSimd, TVector>(b2);
                TVector bits3 = TCodes.Begin<TSimd, TVector>(b3);
                int count = Math.Min(IQuantizedCodes.StepDepth, end - k);
                for (int i = 0; i < count; i++)
                {
                    TVector w0 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits0, b0, i), scale0);
                    TVector w1 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits1, b1, i), scale1);
                    TVector w2 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits2, b2, i), scale2);
                    TVector w3 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits3, b3, i), scale3);
                    bits0 = TCodes.Next<TSimd, TVector>(bits0);
                    bits1 = TCodes.Next<TSimd, TVector>(bits1);
                    bits2 = TCodes.Next<TSimd, TVector>(bits2);
                    bits3 = TCodes.Next<TSimd, TVector>(bits3);
                    TVector factor = TSimd.Broadcast(x[k]);
                    a00 = TSimd.MultiplyAdd(w0, factor, a00);
                    a01 = TSimd.MultiplyAdd(w1, factor, a01);
                    a02 = TSimd.MultiplyAdd(w2, factor, a02);
                    a03 = TSimd.MultiplyAdd(w3, factor, a03);
                    k++;
                }

                b0 += TCodes.StepBytes;
                b1 += TCodes.StepBytes;
                b2 += TCodes.StepBytes;
                b3 += TCodes.StepBytes;
            }
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
        TSimd.Store(a02, c2);
        TSimd.Store(a03, c3);
    }

    /// <summary>Two rows, two vectors of outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows2(
        float* x,
        nint xStride,
        byte* b0,
        byte* b1,
        float* s0,
        float* s1,
        int depth,
        float* c0,
        float* c1,
        nint cStride,
        bool resume)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        if (resume)
        {
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
            a10 = TSimd.Load(c0 + cStride);
            a11 = TSimd.Load(c1 + cStride);
        }

        float* x1 = x + xStride;

        float* table = NF4Panels.Values;
        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + TCodes.BlockDepth, depth);
            TVector scale0 = TSimd.Load(s0);
            TVector scale1 = TSimd.Load(s1);
            s0 += PanelLayout.Width;
            s1 += PanelLayout.Width;
            while (k < end)
            {
                SoftwarePrefetch.Ahead(b0);
                SoftwarePrefetch.Ahead(b1);
                TVector bits0 = TCodes.Begin<TSimd, TVector>(b0);
                TVector bits1 = TCodes.Begin<TSimd, TVector>(b1);
                int count = Math.Min(IQuantizedCodes.StepDepth, end - k);
                for (int i = 0; i < count; i++)
                {
                    TVector w0 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits0, b0, i), scale0);
                    TVector w1 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits1, b1, i), scale1);
                    bits0 = TCodes.Next<TSimd, TVector>(bits0);
                    bits1 = TCodes.Next<TSimd, TVector>(bits1);
                    TVector factor = TSimd.Broadcast(x[k]);
                    a00 = TSimd.MultiplyAdd(w0, factor, a00);
                    a01 = TSimd.MultiplyAdd(w1, factor, a01);
                    factor = TSimd.Broadcast(x1[k]);
                    a10 = TSimd.MultiplyAdd(w0, factor, a10);
                    a11 = TSimd.MultiplyAdd(w1, factor, a11);
                    k++;
                }

                b0 += TCodes.StepBytes;
                b1 += TCodes.StepBytes;
            }
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
        TSimd.Store(a10, c0 + cStride);
        TSimd.Store(a11, c1 + cStride);
    }

    /// <summary>Four rows, the last where it is said to be, two vectors of outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows4(
        float* x,
        nint xStride,
        float* x3,
        byte* b0,
        byte* b1,
        float* s0,
        float* s1,
        int depth,
        float* c0,
        float* c1,
        nint cStride,
        bool resume)
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
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
            a10 = TSimd.Load(c0 + cStride);
            a11 = TSimd.Load(c1 + cStride);
            a20 = TSimd.Load(c0 + (2 * cStride));
            a21 = TSimd.Load(c1 + (2 * cStride));
            a30 = TSimd.Load(c0 + (3 * cStride));
            a31 = TSimd.Load(c1 + (3 * cStride));
        }

        float* x1 = x + xStride;
        float* x2 = x + (2 * xStride);

        float* table = NF4Panels.Values;
        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + TCodes.BlockDepth, depth);
            TVector scale0 = TSimd.Load(s0);
            TVector scale1 = TSimd.Load(s1);
            s0 += PanelLayout.Width;
            s1 += PanelLayout.Width;
            while (k < end)
            {
                SoftwarePrefetch.Ahead(b0);
                SoftwarePrefetch.Ahead(b1);
                TVector bits0 = TCodes.Begin<TSimd, TVector>(b0);
                TVector bits1 = TCodes.Begin<TSimd, TVector>(b1);
                int count = Math.Min(IQuantizedCodes.StepDepth, end - k);
                for (int i = 0; i < count; i++)
                {
                    TVector w0 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits0, b0, i), scale0);
                    TVector w1 = TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits1, b1, i), scale1);
                    bits0 = TCodes.Next<TSimd, TVector>(bits0);
                    bits1 = TCodes.Next<TSimd, TVector>(bits1);
                    TVector factor = TSimd.Broadcast(x[k]);
                    a00 = TSimd.MultiplyAdd(w0, factor, a00);
                    a01 = TSimd.MultiplyAdd(w1, factor, a01);
                    factor = TSimd.Broadcast(x1[k]);
                    a10 = TSimd.MultiplyAdd(w0, factor, a10);
                    a11 = TSimd.MultiplyAdd(w1, factor, a11);
                    factor = TSimd.Broadcast(x2[k]);
                    a20 = TSimd.MultiplyAdd(w0, factor, a20);
                    a21 = TSimd.MultiplyAdd(w1, factor, a21);
                    factor = TSimd.Broadcast(x3[k]);
                    a30 = TSimd.MultiplyAdd(w0, factor, a30);
                    a31 = TSimd.MultiplyAdd(w1, factor, a31);
                    k++;
                }

                b0 += TCodes.StepBytes;
                b1 += TCodes.StepBytes;
            }
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
        TSimd.Store(a10, c0 + cStride);
        TSimd.Store(a11, c1 + cStride);
        TSimd.Store(a20, c0 + (2 * cStride));
        TSimd.Store(a21, c1 + (2 * cStride));
        TSimd.Store(a30, c0 + (3 * cStride));
        TSimd.Store(a31, c1 + (3 * cStride));
    }
}
