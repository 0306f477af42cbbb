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
/// <remarks>
/// The methods differ in shape only. Few rows: the time is that of reading weights, so four vectors of columns go side by side (with wide
/// vectors two panels, two streams of memory) and weights are asked for ahead of their use. Many rows: the time is that of multiplying,
/// so as many rows as registers allow share each load, and their x is interleaved ([k][rows]) to be one stream as well.
/// All take weights at the start of a depth block; only the last piece of a row may be no multiple of it.
/// </remarks>
internal static unsafe partial class PairPanelKernel<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <summary>Bytes of one pair of k in a tile: 16 columns of two bf16.</summary>
    private const int PairBytes = 64;

    /// <summary>How far ahead weights are asked for: the memory's latency times one core's share of its bandwidth.</summary>
    private const int PrefetchBytes = 4096;

    /// <summary>One row, four vectors of columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows1(
        float* x, byte* b0, byte* b1, byte* b2, byte* b3, int depth, float* c0, float* c1, float* c2, float* c3, bool resume)
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

        TSimd.Store(a00, c0);
        TSimd.Store(a01, c1);
        TSimd.Store(a02, c2);
        TSimd.Store(a03, c3);
    }

    /// <summary>Two rows, four vectors of columns; at most 8 accumulators.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows2(
        float* x, nint xStride, byte* b0, byte* b1, byte* b2, byte* b3, int depth, float* c0, float* c1, float* c2, float* c3, nint cStride, bool resume)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a02 = TSimd.Zero;
        TVector a03 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        TVector a12 = TSimd.Zero;
        TVector a13 = TSimd.Zero;
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
        }

        float* x1 = x + xStride;

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
                s = TSimd.Broadcast(x1[k]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                a12 = TSimd.MultiplyAdd(w2, s, a12);
                a13 = TSimd.MultiplyAdd(w3, s, a13);
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
                s = TSimd.Broadcast(x1[k + 1]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                a12 = TSimd.MultiplyAdd(w2, s, a12);
                a13 = TSimd.MultiplyAdd(w3, s, a13);
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
                s = TSimd.Broadcast(x1[k]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                a12 = TSimd.MultiplyAdd(w2, s, a12);
                a13 = TSimd.MultiplyAdd(w3, s, a13);
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
