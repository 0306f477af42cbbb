using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// The multiplication under everything but bf16 base weights: a few rows of x times two vectors' width of columns.
/// <c>c[r, n] = sum over k of x[r, k] * b[k, n]</c>, summed in f32 by one chain of multiply-adds in the order of k.
/// </summary>
/// <remarks>
/// A lane is one output column n: for each k the kernel loads the weights of its columns and multiplies them by x[r, k], the same number
/// in every lane. So no sum ever crosses lanes, and every element is summed in the same order whatever the number of rows, the vector
/// width or the place in the matrix: a row's result cannot depend on its neighbours. Speed comes from the accumulators (2 a row) that are
/// independent of each other: enough to hide the latency of a multiply-add, few enough to stay in registers.
/// </remarks>
internal static unsafe class PanelKernel<TSimd, TVector, TElement>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TElement : struct, IPanelElement
{
    /// <summary>Multiplies any number of rows by two vectors of columns.</summary>
    /// <param name="rows">Rows of x and c.</param>
    /// <param name="x">First row of x.</param>
    /// <param name="xStride">Floats from one row of x to the next.</param>
    /// <param name="b0">Weights of the first vector of columns at k = 0.</param>
    /// <param name="b1">The same of the second; may be <paramref name="b0"/>, with a <paramref name="c1"/> that nobody reads.</param>
    /// <param name="stepBytes">Bytes from one k to the next.</param>
    /// <param name="depth">Number of k.</param>
    /// <param name="c0">Result for the first vector of columns.</param>
    /// <param name="c1">Result for the second.</param>
    /// <param name="cStride">Floats from one row of c to the next.</param>
    /// <param name="mode">What happens with what c holds.</param>
    public static void Multiply(
        int rows, float* x, nint xStride, byte* b0, byte* b1, nint stepBytes, int depth, float* c0, float* c1, nint cStride, PanelMode mode)
    {
        int row = 0;
        for (; TSimd.MaxRows >= 8 && row + 8 <= rows; row += 8)
        {
            Rows8(x, xStride, b0, b1, stepBytes, depth, c0, c1, cStride, mode);
            x += 8 * xStride;
            c0 += 8 * cStride;
            c1 += 8 * cStride;
        }

        for (; row + 4 <= rows; row += 4)
        {
            Rows4(x, xStride, b0, b1, stepBytes, depth, c0, c1, cStride, mode);
            x += 4 * xStride;
            c0 += 4 * cStride;
            c1 += 4 * cStride;
        }

        for (; row + 2 <= rows; row += 2)
        {
            Rows2(x, xStride, b0, b1, stepBytes, depth, c0, c1, cStride, mode);
            x += 2 * xStride;
            c0 += 2 * cStride;
            c1 += 2 * cStride;
        }

        if (row < rows)
        {
            Rows1(x, b0, b1, stepBytes, depth, c0, c1, mode);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows8(
        float* x, nint xStride, byte* b0, byte* b1, nint stepBytes, int depth, float* c0, float* c1, nint cStride, PanelMode mode)
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
        if (mode == PanelMode.Resume)
        {
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
            a10 = TSimd.Load(c0 + cStride);
            a11 = TSimd.Load(c1 + cStride);
            a20 = TSimd.Load(c0 + (2 * cStride));
            a21 = TSimd.Load(c1 + (2 * cStride));
            a30 = TSimd.Load(c0 + (3 * cStride));
            a31 = TSimd.Load(c1 + (3 * cStride));
            a40 = TSimd.Load(c0 + (4 * cStride));
            a41 = TSimd.Load(c1 + (4 * cStride));
            a50 = TSimd.Load(c0 + (5 * cStride));
            a51 = TSimd.Load(c1 + (5 * cStride));
            a60 = TSimd.Load(c0 + (6 * cStride));
            a61 = TSimd.Load(c1 + (6 * cStride));
            a70 = TSimd.Load(c0 + (7 * cStride));
            a71 = TSimd.Load(c1 + (7 * cStride));
        }

        float* x1 = x + xStride;
        float* x2 = x + (2 * xStride);
        float* x3 = x + (3 * xStride);
        float* x4 = x + (4 * xStride);
        float* x5 = x + (5 * xStride);
        float* x6 = x + (6 * xStride);
        float* x7 = x + (7 * xStride);

        for (int k = 0; k < depth; k++)
        {
            TVector w0 = TElement.Load<TSimd, TVector>(b0);
            TVector w1 = TElement.Load<TSimd, TVector>(b1);
            b0 += stepBytes;
            b1 += stepBytes;
            TVector s = TSimd.Broadcast(x[k]);
            a00 = TSimd.MultiplyAdd(w0, s, a00);
            a01 = TSimd.MultiplyAdd(w1, s, a01);
            s = TSimd.Broadcast(x1[k]);
            a10 = TSimd.MultiplyAdd(w0, s, a10);
            a11 = TSimd.MultiplyAdd(w1, s, a11);
            s = TSimd.Broadcast(x2[k]);
            a20 = TSimd.MultiplyAdd(w0, s, a20);
            a21 = TSimd.MultiplyAdd(w1, s, a21);
            s = TSimd.Broadcast(x3[k]);
            a30 = TSimd.MultiplyAdd(w0, s, a30);
            a31 = TSimd.MultiplyAdd(w1, s, a31);
            s = TSimd.Broadcast(x4[k]);
            a40 = TSimd.MultiplyAdd(w0, s, a40);
            a41 = TSimd.MultiplyAdd(w1, s, a41);
            s = TSimd.Broadcast(x5[k]);
            a50 = TSimd.MultiplyAdd(w0, s, a50);
            a51 = TSimd.MultiplyAdd(w1, s, a51);
            s = TSimd.Broadcast(x6[k]);
            a60 = TSimd.MultiplyAdd(w0, s, a60);
            a61 = TSimd.MultiplyAdd(w1, s, a61);
            s = TSimd.Broadcast(x7[k]);
            a70 = TSimd.MultiplyAdd(w0, s, a70);
            a71 = TSimd.MultiplyAdd(w1, s, a71);
        }

        if (mode == PanelMode.Add)
        {
            a00 = TSimd.Add(TSimd.Load(c0), a00);
            a01 = TSimd.Add(TSimd.Load(c1), a01);
            a10 = TSimd.Add(TSimd.Load(c0 + cStride), a10);
            a11 = TSimd.Add(TSimd.Load(c1 + cStride), a11);
            a20 = TSimd.Add(TSimd.Load(c0 + (2 * cStride)), a20);
            a21 = TSimd.Add(TSimd.Load(c1 + (2 * cStride)), a21);
            a30 = TSimd.Add(TSimd.Load(c0 + (3 * cStride)), a30);
            a31 = TSimd.Add(TSimd.Load(c1 + (3 * cStride)), a31);
            a40 = TSimd.Add(TSimd.Load(c0 + (4 * cStride)), a40);
            a41 = TSimd.Add(TSimd.Load(c1 + (4 * cStride)), a41);
            a50 = TSimd.Add(TSimd.Load(c0 + (5 * cStride)), a50);
            a51 = TSimd.Add(TSimd.Load(c1 + (5 * cStride)), a51);
            a60 = TSimd.Add(TSimd.Load(c0 + (6 * cStride)), a60);
            a61 = TSimd.Add(TSimd.Load(c1 + (6 * cStride)), a61);
            a70 = TSimd.Add(TSimd.Load(c0 + (7 * cStride)), a70);
            a71 = TSimd.Add(TSimd.Load(c1 + (7 * cStride)), a71);
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
        TSimd.Store(a10, c0 + cStride);
        TSimd.Store(a11, c1 + cStride);
        TSimd.Store(a20, c0 + (2 * cStride));
        TSimd.Store(a21, c1 + (2 * cStride));
        TSimd.Store(a30, c0 + (3 * cStride));
        TSimd.Store(a31, c1 + (3 * cStride));
        TSimd.Store(a40, c0 + (4 * cStride));
        TSimd.Store(a41, c1 + (4 * cStride));
        TSimd.Store(a50, c0 + (5 * cStride));
        TSimd.Store(a51, c1 + (5 * cStride));
        TSimd.Store(a60, c0 + (6 * cStride));
        TSimd.Store(a61, c1 + (6 * cStride));
        TSimd.Store(a70, c0 + (7 * cStride));
        TSimd.Store(a71, c1 + (7 * cStride));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(
        float* x, nint xStride, byte* b0, byte* b1, nint stepBytes, int depth, float* c0, float* c1, nint cStride, PanelMode mode)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        TVector a20 = TSimd.Zero;
        TVector a21 = TSimd.Zero;
        TVector a30 = TSimd.Zero;
        TVector a31 = TSimd.Zero;
        if (mode == PanelMode.Resume)
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
        float* x3 = x + (3 * xStride);

        for (int k = 0; k < depth; k++)
        {
            SoftwarePrefetch.Ahead(b0);
            SoftwarePrefetch.Ahead(b1);
            TVector w0 = TElement.Load<TSimd, TVector>(b0);
            TVector w1 = TElement.Load<TSimd, TVector>(b1);
            b0 += stepBytes;
            b1 += stepBytes;
            TVector s = TSimd.Broadcast(x[k]);
            a00 = TSimd.MultiplyAdd(w0, s, a00);
            a01 = TSimd.MultiplyAdd(w1, s, a01);
            s = TSimd.Broadcast(x1[k]);
            a10 = TSimd.MultiplyAdd(w0, s, a10);
            a11 = TSimd.MultiplyAdd(w1, s, a11);
            s = TSimd.Broadcast(x2[k]);
            a20 = TSimd.MultiplyAdd(w0, s, a20);
            a21 = TSimd.MultiplyAdd(w1, s, a21);
            s = TSimd.Broadcast(x3[k]);
            a30 = TSimd.MultiplyAdd(w0, s, a30);
            a31 = TSimd.MultiplyAdd(w1, s, a31);
        }

        if (mode == PanelMode.Add)
        {
            a00 = TSimd.Add(TSimd.Load(c0), a00);
            a01 = TSimd.Add(TSimd.Load(c1), a01);
            a10 = TSimd.Add(TSimd.Load(c0 + cStride), a10);
            a11 = TSimd.Add(TSimd.Load(c1 + cStride), a11);
            a20 = TSimd.Add(TSimd.Load(c0 + (2 * cStride)), a20);
            a21 = TSimd.Add(TSimd.Load(c1 + (2 * cStride)), a21);
            a30 = TSimd.Add(TSimd.Load(c0 + (3 * cStride)), a30);
            a31 = TSimd.Add(TSimd.Load(c1 + (3 * cStride)), a31);
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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(
        float* x, nint xStride, byte* b0, byte* b1, nint stepBytes, int depth, float* c0, float* c1, nint cStride, PanelMode mode)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        if (mode == PanelMode.Resume)
        {
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
            a10 = TSimd.Load(c0 + cStride);
            a11 = TSimd.Load(c1 + cStride);
        }

        float* x1 = x + xStride;

        for (int k = 0; k < depth; k++)
        {
            SoftwarePrefetch.Ahead(b0);
            SoftwarePrefetch.Ahead(b1);
            TVector w0 = TElement.Load<TSimd, TVector>(b0);
            TVector w1 = TElement.Load<TSimd, TVector>(b1);
            b0 += stepBytes;
            b1 += stepBytes;
            TVector s = TSimd.Broadcast(x[k]);
            a00 = TSimd.MultiplyAdd(w0, s, a00);
            a01 = TSimd.MultiplyAdd(w1, s, a01);
            s = TSimd.Broadcast(x1[k]);
            a10 = TSimd.MultiplyAdd(w0, s, a10);
            a11 = TSimd.MultiplyAdd(w1, s, a11);
        }

        if (mode == PanelMode.Add)
        {
            a00 = TSimd.Add(TSimd.Load(c0), a00);
            a01 = TSimd.Add(TSimd.Load(c1), a01);
            a10 = TSimd.Add(TSimd.Load(c0 + cStride), a10);
            a11 = TSimd.Add(TSimd.Load(c1 + cStride), a11);
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
        TSimd.Store(a10, c0 + cStride);
        TSimd.Store(a11, c1 + cStride);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(
        float* x, byte* b0, byte* b1, nint stepBytes, int depth, float* c0, float* c1, PanelMode mode)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        if (mode == PanelMode.Resume)
        {
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
        }

        for (int k = 0; k < depth; k++)
        {
            SoftwarePrefetch.Ahead(b0);
            SoftwarePrefetch.Ahead(b1);
            TVector w0 = TElement.Load<TSimd, TVector>(b0);
            TVector w1 = TElement.Load<TSimd, TVector>(b1);
            b0 += stepBytes;
            b1 += stepBytes;
            TVector s = TSimd.Broadcast(x[k]);
            a00 = TSimd.MultiplyAdd(w0, s, a00);
            a01 = TSimd.MultiplyAdd(w1, s, a01);
        }

        if (mode == PanelMode.Add)
        {
            a00 = TSimd.Add(TSimd.Load(c0), a00);
            a01 = TSimd.Add(TSimd.Load(c1), a01);
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
    }
}
