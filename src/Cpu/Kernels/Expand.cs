using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// The second half of a low-rank change: <c>y[t, o] += sum over r of h[t, r] B[o, r]</c>, with a lane for each output. The sum is finished
/// in the order of r before it is added to y. B lies as in <see cref="LowRankLayout"/>.
/// </summary>
/// <remarks>Two panels of 32 outputs go together: their sums hide the latency of a multiply-add, and each h is spread over the lanes once for both.</remarks>
internal static unsafe class Expand<TSimd, TVector, TElement>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TElement : struct, ILowRankElement
{
    private const int PairWidth = 2 * LowRankLayout.Run;

    /// <summary>Floats of the scratch tile for so many rows.</summary>
    public static int TileFloats(int rows) => rows * PairWidth;

    /// <param name="rows">Rows of h and y.</param>
    /// <param name="h"><c>[rows][hStride]</c>.</param>
    /// <param name="hStride">Floats between rows of h.</param>
    /// <param name="b">B, from its first output on.</param>
    /// <param name="ranks">R.</param>
    /// <param name="first">First output to add, a multiple of 32.</param>
    /// <param name="count">Outputs to add; fewer than whole runs only at the end of B.</param>
    /// <param name="y">Target, from the first output of B on.</param>
    /// <param name="yStride">Floats between rows of y.</param>
    /// <param name="tile">Scratch of <see cref="TileFloats"/>.</param>
    public static void Apply(int rows, float* h, nint hStride, byte* b, int ranks, int first, int count, float* y, nint yStride, float* tile)
    {
        nint panelBytes = (nint)ranks * TElement.RunBytes;
        b += first / LowRankLayout.Run * panelBytes;
        y += first;
        for (; count >= PairWidth; count -= PairWidth)
        {
            AddPair(rows, h, hStride, b, b + panelBytes, ranks, y, y + LowRankLayout.Run, yStride);
            b += 2 * panelBytes;
            y += PairWidth;
        }

        if (count > 0)
        {
            // What is left is less than two panels: it goes through a tile of zeros, so that nothing beyond y's columns is touched.
            new Span<float>(tile, TileFloats(rows)).Clear();
            byte* b1 = count > LowRankLayout.Run ? b + panelBytes : b;
            AddPair(rows, h, hStride, b, b1, ranks, tile, tile + LowRankLayout.Run, PairWidth);
            for (int row = 0; row < rows; row++)
            {
                for (int i = 0; i < count; i++)
                {
                    y[(row * yStride) + i] += tile[(row * PairWidth) + i];
                }
            }
        }
    }

    private static void AddPair(int rows, float* h, nint hStride, byte* b0, byte* b1, int ranks, float* y0, float* y1, nint yStride)
    {
        int row = 0;
        for (; TSimd.MaxRows >= 8 && row + 4 <= rows; row += 4)
        {
            nint at = row * yStride;
            Rows4(h + (row * hStride), hStride, b0, b1, ranks, y0 + at, y1 + at, yStride);
        }

        for (; row + 2 <= rows; row += 2)
        {
            nint at = row * yStride;
            Rows2(h + (row * hStride), hStride, b0, b1, ranks, y0 + at, y1 + at, yStride);
        }

        if (row < rows)
        {
            Rows1(h + (row * hStride), b0, b1, ranks, y0 + (row * yStride), y1 + (row * yStride));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(float* h, byte* b0, byte* b1, int ranks, float* y0, float* y1)
    {
        for (int lane = 0; lane < LowRankLayout.Half; lane += TSimd.Count)
        {
            TVector a00 = TSimd.Zero;
            TVector a01 = TSimd.Zero;
            TVector a02 = TSimd.Zero;
            TVector a03 = TSimd.Zero;
            nint at = 0;
            for (int rank = 0; rank < ranks; rank++)
            {
                SoftwarePrefetch.Ahead(b0 + at);
                SoftwarePrefetch.Ahead(b1 + at);
                TVector w0 = TElement.First<TSimd, TVector>(b0 + at, lane);
                TVector w1 = TElement.Second<TSimd, TVector>(b0 + at, lane);
                TVector w2 = TElement.First<TSimd, TVector>(b1 + at, lane);
                TVector w3 = TElement.Second<TSimd, TVector>(b1 + at, lane);
                at += TElement.RunBytes;
                TVector s = TSimd.Broadcast(h[rank]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
            }

            Put(a00, y0 + lane);
            Put(a01, y0 + LowRankLayout.Half + lane);
            Put(a02, y1 + lane);
            Put(a03, y1 + LowRankLayout.Half + lane);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(
        float* h, nint hStride, byte* b0, byte* b1, int ranks, float* y0, float* y1, nint yStride)
    {
        float* h1 = h + hStride;

        for (int lane = 0; lane < LowRankLayout.Half; lane += TSimd.Count)
        {
            TVector a00 = TSimd.Zero;
            TVector a01 = TSimd.Zero;
            TVector a02 = TSimd.Zero;
            TVector a03 = TSimd.Zero;
            TVector a10 = TSimd.Zero;
            TVector a11 = TSimd.Zero;
            TVector a12 = TSimd.Zero;
            TVector a13 = TSimd.Zero;
            nint at = 0;
            for (int rank = 0; rank < ranks; rank++)
            {
                TVector w0 = TElement.First<TSimd, TVector>(b0 + at, lane);
                TVector w1 = TElement.Second<TSimd, TVector>(b0 + at, lane);
                TVector w2 = TElement.First<TSimd, TVector>(b1 + at, lane);
                TVector w3 = TElement.Second<TSimd, TVector>(b1 + at, lane);
                at += TElement.RunBytes;
                TVector s = TSimd.Broadcast(h[rank]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
                s = TSimd.Broadcast(h1[rank]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                a12 = TSimd.MultiplyAdd(w2, s, a12);
                a13 = TSimd.MultiplyAdd(w3, s, a13);
            }

            Put(a00, y0 + lane);
            Put(a01, y0 + LowRankLayout.Half + lane);
            Put(a02, y1 + lane);
            Put(a03, y1 + LowRankLayout.Half + lane);
            Put(a10, y0 + yStride + lane);
            Put(a11, y0 + yStride + LowRankLayout.Half + lane);
            Put(a12, y1 + yStride + lane);
            Put(a13, y1 + yStride + LowRankLayout.Half + lane);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(
        float* h, nint hStride, byte* b0, byte* b1, int ranks, float* y0, float* y1, nint yStride)
    {
        float* h1 = h + hStride;
        float* h2 = h + (2 * hStride);
        float* h3 = h + (3 * hStride);

        for (int lane = 0; lane < LowRankLayout.Half; lane += TSimd.Count)
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
            nint at = 0;
            for (int rank = 0; rank < ranks; rank++)
            {
                TVector w0 = TElement.First<TSimd, TVector>(b0 + at, lane);
                TVector w1 = TElement.Second<TSimd, TVector>(b0 + at, lane);
                TVector w2 = TElement.First<TSimd, TVector>(b1 + at, lane);
                TVector w3 = TElement.Second<TSimd, TVector>(b1 + at, lane);
                at += TElement.RunBytes;
                TVector s = TSimd.Broadcast(h[rank]);
                a00 = TSimd.MultiplyAdd(w0, s, a00);
                a01 = TSimd.MultiplyAdd(w1, s, a01);
                a02 = TSimd.MultiplyAdd(w2, s, a02);
                a03 = TSimd.MultiplyAdd(w3, s, a03);
                s = TSimd.Broadcast(h1[rank]);
                a10 = TSimd.MultiplyAdd(w0, s, a10);
                a11 = TSimd.MultiplyAdd(w1, s, a11);
                a12 = TSimd.MultiplyAdd(w2, s, a12);
                a13 = TSimd.MultiplyAdd(w3, s, a13);
                s = TSimd.Broadcast(h2[rank]);
                a20 = TSimd.MultiplyAdd(w0, s, a20);
                a21 = TSimd.MultiplyAdd(w1, s, a21);
                a22 = TSimd.MultiplyAdd(w2, s, a22);
                a23 = TSimd.MultiplyAdd(w3, s, a23);
                s = TSimd.Broadcast(h3[rank]);
                a30 = TSimd.MultiplyAdd(w0, s, a30);
                a31 = TSimd.MultiplyAdd(w1, s, a31);
                a32 = TSimd.MultiplyAdd(w2, s, a32);
                a33 = TSimd.MultiplyAdd(w3, s, a33);
            }

            Put(a00, y0 + lane);
            Put(a01, y0 + LowRankLayout.Half + lane);
            Put(a02, y1 + lane);
            Put(a03, y1 + LowRankLayout.Half + lane);
            Put(a10, y0 + yStride + lane);
            Put(a11, y0 + yStride + LowRankLayout.Half + lane);
            Put(a12, y1 + yStride + lane);
            Put(a13, y1 + yStride + LowRankLayout.Half + lane);
            Put(a20, y0 + (2 * yStride) + lane);
            Put(a21, y0 + (2 * yStride) + LowRankLayout.Half + lane);
            Put(a22, y1 + (2 * yStride) + lane);
            Put(a23, y1 + (2 * yStride) + LowRankLayout.Half + lane);
            Put(a30, y0 + (3 * yStride) + lane);
            Put(a31, y0 + (3 * yStride) + LowRankLayout.Half + lane);
            Put(a32, y1 + (3 * yStride) + lane);
            Put(a33, y1 + (3 * yStride) + LowRankLayout.Half + lane);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(TVector sum, float* y) => TSimd.Store(TSimd.Add(TSimd.Load(y), sum), y);
}
