using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Kernels;

/// <content>The shapes for many rows, whose x is interleaved.</content>
internal static unsafe partial class PairPanelKernel<TSimd, TVector>
{
    /// <summary>Four interleaved rows, four vectors of columns: for 32 registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Interleaved4By4(
        float* x, byte* b0, byte* b1, byte* b2, byte* b3, int depth, float* c0, float* c1, float* c2, float* c3, nint cStride, bool resume)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a02 = TSimd.Zero;
        TVector a03 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        TVector a12 = TSimd.Zero;
        TVector a13 = TSimd.Zero;
        TVector a20 = TSimd.Zero;
        TVector a21 = TSimd.Zero;
        TVector a22 = TSimd.Zero;
        TVector a23 = TSimd.Zero;
        TVector a30 = TSimd.Zero;
        TVector a31 = TSimd.Zero;
        TVector a32 = TSimd.Zero;
        TVector a33 = TSimd.Zero;
        if (resume)
        {
            a00 = TSimd.Load(c0);
            a01 = TSimd.Load(c1);
            a02 = TSimd.Load(c2);
            a03 = TSimd.Load(c3);
            a10 = TSimd.Load(c0 + cStride);
            a11 = TSimd.Load(c1 + cStride);
            a12 = TSimd.Load(c2 + cStride);
            a13 = TSimd.Load(c3 + cStride);
            a20 = TSimd.Load(c0 + (2 * cStride));
            a21 = TSimd.Load(c1 + (2 * cStride));
            a22 = TSimd.Load(c2 + (2 * cStride));
            a23 = TSimd.Load(c3 + (2 * cStride));
            a30 = TSimd.Load(c0 + (3 * cStride));
            a31 = TSimd.Load(c1 + (3 * cStride));
            a32 = TSimd.Load(c2 + (3 * cStride));
            a33 = TSimd.Load(c3 + (3 * cStride));
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
                TVector s = TSimd.Broadcast(x[0]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
                s = TSimd.Broadcast(x[1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                a12 = TSimd.MultiplyAdd(w2, s, a12);
                a13 = TSimd.MultiplyAdd(w3, s, a13);
                s = TSimd.Broadcast(x[2]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                a22 = TSimd.MultiplyAdd(w2, s, a22);
                a23 = TSimd.MultiplyAdd(w3, s, a23);
                s = TSimd.Broadcast(x[3]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                a32 = TSimd.MultiplyAdd(w2, s, a32);
                a33 = TSimd.MultiplyAdd(w3, s, a33);
                w0 = TSimd.LoadPairsSecond((uint*)b0);
                w1 = TSimd.LoadPairsSecond((uint*)b1);
                w2 = TSimd.LoadPairsSecond((uint*)b2);
                w3 = TSimd.LoadPairsSecond((uint*)b3);
                b0 += PairBytes;
                b1 += PairBytes;
                b2 += PairBytes;
                b3 += PairBytes;
                s = TSimd.Broadcast(x[4]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
                s = TSimd.Broadcast(x[5]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                a12 = TSimd.MultiplyAdd(w2, s, a12);
                a13 = TSimd.MultiplyAdd(w3, s, a13);
                s = TSimd.Broadcast(x[6]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                a22 = TSimd.MultiplyAdd(w2, s, a22);
                a23 = TSimd.MultiplyAdd(w3, s, a23);
                s = TSimd.Broadcast(x[7]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                a32 = TSimd.MultiplyAdd(w2, s, a32);
                a33 = TSimd.MultiplyAdd(w3, s, a33);
                x += 8;
            }

            if (k < end)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector w2 = TSimd.LoadPairsFirst((uint*)b2);
                TVector w3 = TSimd.LoadPairsFirst((uint*)b3);
                TVector s = TSimd.Broadcast(x[0]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
                s = TSimd.Broadcast(x[1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                a12 = TSimd.MultiplyAdd(w2, s, a12);
                a13 = TSimd.MultiplyAdd(w3, s, a13);
                s = TSimd.Broadcast(x[2]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                a22 = TSimd.MultiplyAdd(w2, s, a22);
                a23 = TSimd.MultiplyAdd(w3, s, a23);
                s = TSimd.Broadcast(x[3]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                a32 = TSimd.MultiplyAdd(w2, s, a32);
                a33 = TSimd.MultiplyAdd(w3, s, a33);
                k++;
            }

            b0 += PanelLayout.TileBytes;
            b1 += PanelLayout.TileBytes;
            b2 += PanelLayout.TileBytes;
            b3 += PanelLayout.TileBytes;
        }

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
        TSimd.Store(a02, c2);
        TSimd.Store(a03, c3);
        TSimd.Store(a10, c0 + cStride);
        TSimd.Store(a11, c1 + cStride);
        TSimd.Store(a12, c2 + cStride);
        TSimd.Store(a13, c3 + cStride);
        TSimd.Store(a20, c0 + (2 * cStride));
        TSimd.Store(a21, c1 + (2 * cStride));
        TSimd.Store(a22, c2 + (2 * cStride));
        TSimd.Store(a23, c3 + (2 * cStride));
        TSimd.Store(a30, c0 + (3 * cStride));
        TSimd.Store(a31, c1 + (3 * cStride));
        TSimd.Store(a32, c2 + (3 * cStride));
        TSimd.Store(a33, c3 + (3 * cStride));
    }

    /// <summary>Four interleaved rows, two vectors of columns: for 16 registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Interleaved4(
        float* x, byte* b0, byte* b1, int depth, float* c0, float* c1, nint cStride, bool resume)
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

        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + PanelLayout.DepthBlock, depth);
            for (; k < end - 1; k += 2)
            {
                Prefetch(b0 + PrefetchBytes);
                Prefetch(b1 + PrefetchBytes);
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector s = TSimd.Broadcast(x[0]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x[1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                s = TSimd.Broadcast(x[2]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                s = TSimd.Broadcast(x[3]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                w0 = TSimd.LoadPairsSecond((uint*)b0);
                w1 = TSimd.LoadPairsSecond((uint*)b1);
                b0 += PairBytes;
                b1 += PairBytes;
                s = TSimd.Broadcast(x[4]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x[5]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                s = TSimd.Broadcast(x[6]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                s = TSimd.Broadcast(x[7]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                x += 8;
            }

            if (k < end)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector s = TSimd.Broadcast(x[0]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x[1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                s = TSimd.Broadcast(x[2]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                s = TSimd.Broadcast(x[3]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                k++;
            }

            b0 += PanelLayout.TileBytes;
            b1 += PanelLayout.TileBytes;
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

    /// <summary>Eight interleaved rows, two vectors of columns: for 32 registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Interleaved8(
        float* x, byte* b0, byte* b1, int depth, float* c0, float* c1, nint cStride, bool resume)
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

        int k = 0;
        while (k < depth)
        {
            int end = Math.Min(k + PanelLayout.DepthBlock, depth);
            for (; k < end - 1; k += 2)
            {
                Prefetch(b0 + PrefetchBytes);
                Prefetch(b1 + PrefetchBytes);
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector s = TSimd.Broadcast(x[0]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x[1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                s = TSimd.Broadcast(x[2]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                s = TSimd.Broadcast(x[3]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                s = TSimd.Broadcast(x[4]);
                a40 = TSimd.MultiplyAdd(w0, s, a40);
                a41 = TSimd.MultiplyAdd(w1, s, a41);
                s = TSimd.Broadcast(x[5]);
                a50 = TSimd.MultiplyAdd(w0, s, a50);
                a51 = TSimd.MultiplyAdd(w1, s, a51);
                s = TSimd.Broadcast(x[6]);
                a60 = TSimd.MultiplyAdd(w0, s, a60);
                a61 = TSimd.MultiplyAdd(w1, s, a61);
                s = TSimd.Broadcast(x[7]);
                a70 = TSimd.MultiplyAdd(w0, s, a70);
                a71 = TSimd.MultiplyAdd(w1, s, a71);
                w0 = TSimd.LoadPairsSecond((uint*)b0);
                w1 = TSimd.LoadPairsSecond((uint*)b1);
                b0 += PairBytes;
                b1 += PairBytes;
                s = TSimd.Broadcast(x[8]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x[9]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                s = TSimd.Broadcast(x[10]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                s = TSimd.Broadcast(x[11]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                s = TSimd.Broadcast(x[12]);
                a40 = TSimd.MultiplyAdd(w0, s, a40);
                a41 = TSimd.MultiplyAdd(w1, s, a41);
                s = TSimd.Broadcast(x[13]);
                a50 = TSimd.MultiplyAdd(w0, s, a50);
                a51 = TSimd.MultiplyAdd(w1, s, a51);
                s = TSimd.Broadcast(x[14]);
                a60 = TSimd.MultiplyAdd(w0, s, a60);
                a61 = TSimd.MultiplyAdd(w1, s, a61);
                s = TSimd.Broadcast(x[15]);
                a70 = TSimd.MultiplyAdd(w0, s, a70);
                a71 = TSimd.MultiplyAdd(w1, s, a71);
                x += 16;
            }

            if (k < end)
            {
                TVector w0 = TSimd.LoadPairsFirst((uint*)b0);
                TVector w1 = TSimd.LoadPairsFirst((uint*)b1);
                TVector s = TSimd.Broadcast(x[0]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                s = TSimd.Broadcast(x[1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                s = TSimd.Broadcast(x[2]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                s = TSimd.Broadcast(x[3]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                s = TSimd.Broadcast(x[4]);
                a40 = TSimd.MultiplyAdd(w0, s, a40);
                a41 = TSimd.MultiplyAdd(w1, s, a41);
                s = TSimd.Broadcast(x[5]);
                a50 = TSimd.MultiplyAdd(w0, s, a50);
                a51 = TSimd.MultiplyAdd(w1, s, a51);
                s = TSimd.Broadcast(x[6]);
                a60 = TSimd.MultiplyAdd(w0, s, a60);
                a61 = TSimd.MultiplyAdd(w1, s, a61);
                s = TSimd.Broadcast(x[7]);
                a70 = TSimd.MultiplyAdd(w0, s, a70);
                a71 = TSimd.MultiplyAdd(w1, s, a71);
                k++;
            }

            b0 += PanelLayout.TileBytes;
            b1 += PanelLayout.TileBytes;
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
}
