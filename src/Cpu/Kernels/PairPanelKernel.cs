using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// <see cref="PanelKernel{TSimd, TVector, TElement}"/> for bf16 base weights, whose panels hold the weights of two successive k beside
/// each other (see <see cref="PanelLayout"/>): one load brings both, a shift widens the first, a mask the second, both exactly.
/// The sums are the same chain in the order of k.
/// </summary>
internal static unsafe class PairPanelKernel<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <summary>Bytes of one pair of k in a tile: 16 columns of two bf16.</summary>
    private const int PairBytes = 64;

    /// <summary>How far ahead the one-row kernel asks for weights: the memory's latency times one core's share of its bandwidth.</summary>
    private const int PrefetchBytes = 4096;

    /// <summary>Multiplies any number of rows by two vectors of columns.</summary>
    /// <param name="rows">Rows of x and c.</param>
    /// <param name="x">First row of x.</param>
    /// <param name="xStride">Floats from one row of x to the next.</param>
    /// <param name="b0">Weights of the first vector of columns, at the start of a depth block.</param>
    /// <param name="b1">The same of the second.</param>
    /// <param name="depth">Number of k; only the last piece of a row may be no multiple of <see cref="PanelLayout.DepthBlock"/>.</param>
    /// <param name="c0">Result for the first vector of columns.</param>
    /// <param name="c1">Result for the second.</param>
    /// <param name="cStride">Floats from one row of c to the next.</param>
    /// <param name="mode">What happens with what c holds.</param>
    public static void Multiply(
        int rows, float* x, nint xStride, byte* b0, byte* b1, int depth, float* c0, float* c1, nint cStride, PanelMode mode)
    {
        int row = 0;
        for (; TSimd.MaxRows >= 8 && row + 8 <= rows; row += 8)
        {
            Rows8(x, xStride, b0, b1, depth, c0, c1, cStride, mode);
            x += 8 * xStride;
            c0 += 8 * cStride;
            c1 += 8 * cStride;
        }

        for (; row + 4 <= rows; row += 4)
        {
            Rows4(x, xStride, b0, b1, depth, c0, c1, cStride, mode);
            x += 4 * xStride;
            c0 += 4 * cStride;
            c1 += 4 * cStride;
        }

        for (; row + 2 <= rows; row += 2)
        {
            Rows2(x, xStride, b0, b1, depth, c0, c1, cStride, mode);
            x += 2 * xStride;
            c0 += 2 * cStride;
            c1 += 2 * cStride;
        }

        if (row < rows)
        {
            Rows1(x, b0, b1, depth, c0, c1, mode);
        }
    }

    /// <summary>
    /// One row by four vectors of columns, for decoding one sequence, where the speed is that of reading the weights: more streams at
    /// once and prefetching keep the memory busy.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows1Quad(
        float* x, byte* b0, byte* b1, byte* b2, byte* b3, int depth, float* c0, float* c1, float* c2, float* c3, PanelMode mode)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a02 = TSimd.Zero;
        TVector a03 = TSimd.Zero;
        if (mode == PanelMode.Resume)
        {
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
            a02 = TSimd.Load(c2);
            a03 = TSimd.Load(c3);
        }

        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + PanelLayout.DepthBlock, depth);
            for (; k < end - 1; k += 2)
            {
                Prefetch(b0 + PrefetchBytes);
                Prefetch(b1 + PrefetchBytes);
                Prefetch(b2 + PrefetchBytes);
                Prefetch(b3 + PrefetchBytes);
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector w2 = TSimd.LoadPairsFirst((uint*)b2);
                TVector w3 = TSimd.LoadPairsFirst((uint*)b3);
                TVector s = TSimd.Broadcast(x[k]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
                w0 = TSimd.LoadPairsSecond((uint*)b0);
                w1 = TSimd.LoadPairsSecond((uint*)b1);
                w2 = TSimd.LoadPairsSecond((uint*)b2);
                w3 = TSimd.LoadPairsSecond((uint*)b3);
                b0 += PairBytes;
                b1 += PairBytes;
                b2 += PairBytes;
                b3 += PairBytes;
                s = TSimd.Broadcast(x[k + 1]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
            }

            if (k < end)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector w2 = TSimd.LoadPairsFirst((uint*)b2);
                TVector w3 = TSimd.LoadPairsFirst((uint*)b3);
                TVector s = TSimd.Broadcast(x[k]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
                k++;
            }

            b0 += PanelLayout.TileBytes;
            b1 += PanelLayout.TileBytes;
            b2 += PanelLayout.TileBytes;
            b3 += PanelLayout.TileBytes;
        }

        if (mode == PanelMode.Add)
        {
            a00 = TSimd.Add(TSimd.Load(c0), a00);
            a01 = TSimd.Add(TSimd.Load(c1), a01);
            a02 = TSimd.Add(TSimd.Load(c2), a02);
            a03 = TSimd.Add(TSimd.Load(c3), a03);
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
        TSimd.Store(a02, c2);
        TSimd.Store(a03, c3);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows8(
        float* x, nint xStride, byte* b0, byte* b1, int depth, float* c0, float* c1, nint cStride, PanelMode mode)
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

        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + PanelLayout.DepthBlock, depth);
            for (; k < end - 1; k += 2)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
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
                w0 = TSimd.LoadPairsSecond((uint*)b0);
                w1 = TSimd.LoadPairsSecond((uint*)b1);
                b0 += PairBytes;
                b1 += PairBytes;
                s = TSimd.Broadcast(x[k + 1]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x1[k + 1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                s = TSimd.Broadcast(x2[k + 1]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                s = TSimd.Broadcast(x3[k + 1]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                s = TSimd.Broadcast(x4[k + 1]);
                a40 = TSimd.MultiplyAdd(w0, s, a40);
                a41 = TSimd.MultiplyAdd(w1, s, a41);
                s = TSimd.Broadcast(x5[k + 1]);
                a50 = TSimd.MultiplyAdd(w0, s, a50);
                a51 = TSimd.MultiplyAdd(w1, s, a51);
                s = TSimd.Broadcast(x6[k + 1]);
                a60 = TSimd.MultiplyAdd(w0, s, a60);
                a61 = TSimd.MultiplyAdd(w1, s, a61);
                s = TSimd.Broadcast(x7[k + 1]);
                a70 = TSimd.MultiplyAdd(w0, s, a70);
                a71 = TSimd.MultiplyAdd(w1, s, a71);
            }

            if (k < end)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
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
                k++;
            }

            b0 += PanelLayout.TileBytes;
            b1 += PanelLayout.TileBytes;
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
        float* x, nint xStride, byte* b0, byte* b1, int depth, float* c0, float* c1, nint cStride, PanelMode mode)
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

        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + PanelLayout.DepthBlock, depth);
            for (; k < end - 1; k += 2)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
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
                w0 = TSimd.LoadPairsSecond((uint*)b0);
                w1 = TSimd.LoadPairsSecond((uint*)b1);
                b0 += PairBytes;
                b1 += PairBytes;
                s = TSimd.Broadcast(x[k + 1]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x1[k + 1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                s = TSimd.Broadcast(x2[k + 1]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                s = TSimd.Broadcast(x3[k + 1]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
            }

            if (k < end)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
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
                k++;
            }

            b0 += PanelLayout.TileBytes;
            b1 += PanelLayout.TileBytes;
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
        float* x, nint xStride, byte* b0, byte* b1, int depth, float* c0, float* c1, nint cStride, PanelMode mode)
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

        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + PanelLayout.DepthBlock, depth);
            for (; k < end - 1; k += 2)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector s = TSimd.Broadcast(x[k]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x1[k]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                w0 = TSimd.LoadPairsSecond((uint*)b0);
                w1 = TSimd.LoadPairsSecond((uint*)b1);
                b0 += PairBytes;
                b1 += PairBytes;
                s = TSimd.Broadcast(x[k + 1]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x1[k + 1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
            }

            if (k < end)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector s = TSimd.Broadcast(x[k]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x1[k]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                k++;
            }

            b0 += PanelLayout.TileBytes;
            b1 += PanelLayout.TileBytes;
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
        float* x, byte* b0, byte* b1, int depth, float* c0, float* c1, PanelMode mode)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        if (mode == PanelMode.Resume)
        {
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
        }

        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + PanelLayout.DepthBlock, depth);
            for (; k < end - 1; k += 2)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector s = TSimd.Broadcast(x[k]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                w0 = TSimd.LoadPairsSecond((uint*)b0);
                w1 = TSimd.LoadPairsSecond((uint*)b1);
                b0 += PairBytes;
                b1 += PairBytes;
                s = TSimd.Broadcast(x[k + 1]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
            }

            if (k < end)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector s = TSimd.Broadcast(x[k]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                k++;
            }

            b0 += PanelLayout.TileBytes;
            b1 += PanelLayout.TileBytes;
        }

        if (mode == PanelMode.Add)
        {
            a00 = TSimd.Add(TSimd.Load(c0), a00);
            a01 = TSimd.Add(TSimd.Load(c1), a01);
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* address)
    {
        // Only a hint: an address past the end of the weights does no harm.
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(address);
        }
    }
}
