using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// The first half of a low-rank change: <c>h[t, r] = factor * (A[r] . x[t])</c>, dot products over the inputs. A lies as in
/// <see cref="LowRankLayout"/>.
/// </summary>
/// <remarks>
/// A lane takes every 16th input (fewer lanes: those of several); the lanes of a sum are added across at the end. Each (row, rank) has one
/// accumulator and one order whatever is computed beside it, so a row gets the same bits alone and among a hundred, and a rank in any block.
/// The eight ranks of a block read one x, their sums hide the latency of a multiply-add, and A streams past from front to back; two rows
/// share each widening of A.
/// </remarks>
internal static unsafe class Shrink<TSimd, TVector, TElement>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TElement : struct, ILowRankElement
{
    /// <summary>Floats of scratch that <see cref="Apply"/> needs.</summary>
    public static int TailFloats(int rows) => rows * LowRankLayout.Run;

    /// <param name="rows">Rows of x.</param>
    /// <param name="x">Inputs.</param>
    /// <param name="xStride">Floats between rows of x.</param>
    /// <param name="a">A.</param>
    /// <param name="ranks">R.</param>
    /// <param name="depth">Inputs.</param>
    /// <param name="factor">Factor of the results.</param>
    /// <param name="h">Results <c>[rows][hStride]</c>.</param>
    /// <param name="hStride">Floats between rows of h.</param>
    /// <param name="tails">Scratch of <see cref="TailFloats"/>.</param>
    public static void Apply(int rows, float* x, nint xStride, byte* a, int ranks, int depth, float factor, float* h, nint hStride, float* tails)
    {
        for (int first = 0, block; first < ranks; first += block)
        {
            block = LowRankLayout.BlockRanks(ranks - first);
            ApplyBlock(rows, x, xStride, a, first, block, depth, factor, h, hStride, tails);
        }
    }

    /// <summary>The same for one block of ranks.</summary>
    public static void ApplyBlock(
        int rows, float* x, nint xStride, byte* a, int firstRank, int ranks, int depth, float factor, float* h, nint hStride, float* tails)
    {
        int runs = (depth + LowRankLayout.Run - 1) / LowRankLayout.Run;
        int rest = depth % LowRankLayout.Run;
        a += (nint)firstRank * runs * TElement.RunBytes;
        h += firstRank;

        // A is padded to whole runs, x is not: its last inputs are read from a padded copy.
        for (int row = 0; rest > 0 && row < rows; row++)
        {
            Span<float> tail = new(tails + (row * LowRankLayout.Run), LowRankLayout.Run);
            new ReadOnlySpan<float>(x + (row * xStride) + depth - rest, rest).CopyTo(tail);
            tail[rest..].Clear();
        }

        for (int row = 0; row < rows; row += 2)
        {
            float* x0 = x + (row * xStride);
            float* h0 = h + (row * hStride);
            float* tail = rest > 0 ? tails + (row * LowRankLayout.Run) : null;
            if (row + 1 < rows)
            {
                float* tail1 = rest > 0 ? tail + LowRankLayout.Run : null;
                Two(x0, x0 + xStride, tail, tail1, a, ranks, runs, factor, h0, h0 + hStride);
            }
            else
            {
                One(x0, tail, a, ranks, runs, factor, h0);
            }
        }
    }

    private static void One(float* x, float* tail, byte* a, int ranks, int runs, float factor, float* h)
    {
        switch (ranks)
        {
            case 8:
                Rows1Ranks8(x, tail, a, runs, factor, h);
                break;
            case 4:
                Rows1Ranks4(x, tail, a, runs, factor, h);
                break;
            default:
                Rows1Ranks1(x, tail, a, runs, factor, h);
                break;
        }
    }

    private static void Two(float* x, float* z, float* tail, float* tailZ, byte* a, int ranks, int runs, float factor, float* hx, float* hz)
    {
        switch (ranks)
        {
            case 8:
                Rows2Ranks8(x, z, tail, tailZ, a, runs, factor, hx, hz);
                break;
            case 4:
                Rows2Ranks4(x, z, tail, tailZ, a, runs, factor, hx, hz);
                break;
            default:
                Rows1Ranks1(x, tail, a, runs, factor, hx);
                Rows1Ranks1(z, tailZ, a, runs, factor, hz);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1Ranks8(float* x, float* tail, byte* a, int runs, float factor, float* h)
    {
        TVector s0 = TSimd.Zero;
        TVector s1 = TSimd.Zero;
        TVector s2 = TSimd.Zero;
        TVector s3 = TSimd.Zero;
        TVector s4 = TSimd.Zero;
        TVector s5 = TSimd.Zero;
        TVector s6 = TSimd.Zero;
        TVector s7 = TSimd.Zero;
        for (int left = runs; left > 0; left--)
        {
            if (left == 1 && tail is not null)
            {
                x = tail;
            }

            SoftwarePrefetch.Ahead(a);
            SoftwarePrefetch.Ahead(a + TElement.RunBytes);
            SoftwarePrefetch.Ahead(a + (2 * TElement.RunBytes));
            SoftwarePrefetch.Ahead(a + (3 * TElement.RunBytes));
            SoftwarePrefetch.Ahead(a + (4 * TElement.RunBytes));
            SoftwarePrefetch.Ahead(a + (5 * TElement.RunBytes));
            SoftwarePrefetch.Ahead(a + (6 * TElement.RunBytes));
            SoftwarePrefetch.Ahead(a + (7 * TElement.RunBytes));
            for (int lane = 0; lane < LowRankLayout.Half; lane += TSimd.Count)
            {
                TVector v = TSimd.Load(x + lane);
                s0 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a, lane), v, s0);
                s1 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + TElement.RunBytes, lane), v, s1);
                s2 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + (2 * TElement.RunBytes), lane), v, s2);
                s3 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + (3 * TElement.RunBytes), lane), v, s3);
                s4 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + (4 * TElement.RunBytes), lane), v, s4);
                s5 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + (5 * TElement.RunBytes), lane), v, s5);
                s6 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + (6 * TElement.RunBytes), lane), v, s6);
                s7 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + (7 * TElement.RunBytes), lane), v, s7);
                v = TSimd.Load(x + LowRankLayout.Half + lane);
                s0 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a, lane), v, s0);
                s1 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + TElement.RunBytes, lane), v, s1);
                s2 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + (2 * TElement.RunBytes), lane), v, s2);
                s3 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + (3 * TElement.RunBytes), lane), v, s3);
                s4 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + (4 * TElement.RunBytes), lane), v, s4);
                s5 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + (5 * TElement.RunBytes), lane), v, s5);
                s6 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + (6 * TElement.RunBytes), lane), v, s6);
                s7 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + (7 * TElement.RunBytes), lane), v, s7);
            }

            a += 8 * TElement.RunBytes;
            x += LowRankLayout.Run;
        }

        h[0] = factor * TSimd.Sum(s0);
        h[1] = factor * TSimd.Sum(s1);
        h[2] = factor * TSimd.Sum(s2);
        h[3] = factor * TSimd.Sum(s3);
        h[4] = factor * TSimd.Sum(s4);
        h[5] = factor * TSimd.Sum(s5);
        h[6] = factor * TSimd.Sum(s6);
        h[7] = factor * TSimd.Sum(s7);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1Ranks4(float* x, float* tail, byte* a, int runs, float factor, float* h)
    {
        TVector s0 = TSimd.Zero;
        TVector s1 = TSimd.Zero;
        TVector s2 = TSimd.Zero;
        TVector s3 = TSimd.Zero;
        for (int left = runs; left > 0; left--)
        {
            if (left == 1 && tail is not null)
            {
                x = tail;
            }

            SoftwarePrefetch.Ahead(a);
            SoftwarePrefetch.Ahead(a + TElement.RunBytes);
            SoftwarePrefetch.Ahead(a + (2 * TElement.RunBytes));
            SoftwarePrefetch.Ahead(a + (3 * TElement.RunBytes));
            for (int lane = 0; lane < LowRankLayout.Half; lane += TSimd.Count)
            {
                TVector v = TSimd.Load(x + lane);
                s0 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a, lane), v, s0);
                s1 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + TElement.RunBytes, lane), v, s1);
                s2 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + (2 * TElement.RunBytes), lane), v, s2);
                s3 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a + (3 * TElement.RunBytes), lane), v, s3);
                v = TSimd.Load(x + LowRankLayout.Half + lane);
                s0 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a, lane), v, s0);
                s1 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + TElement.RunBytes, lane), v, s1);
                s2 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + (2 * TElement.RunBytes), lane), v, s2);
                s3 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a + (3 * TElement.RunBytes), lane), v, s3);
            }

            a += 4 * TElement.RunBytes;
            x += LowRankLayout.Run;
        }

        h[0] = factor * TSimd.Sum(s0);
        h[1] = factor * TSimd.Sum(s1);
        h[2] = factor * TSimd.Sum(s2);
        h[3] = factor * TSimd.Sum(s3);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1Ranks1(float* x, float* tail, byte* a, int runs, float factor, float* h)
    {
        TVector s0 = TSimd.Zero;
        for (int left = runs; left > 0; left--)
        {
            if (left == 1 && tail is not null)
            {
                x = tail;
            }

            SoftwarePrefetch.Ahead(a);
            for (int lane = 0; lane < LowRankLayout.Half; lane += TSimd.Count)
            {
                TVector v = TSimd.Load(x + lane);
                s0 = TSimd.MultiplyAdd(TElement.First<TSimd, TVector>(a, lane), v, s0);
                v = TSimd.Load(x + LowRankLayout.Half + lane);
                s0 = TSimd.MultiplyAdd(TElement.Second<TSimd, TVector>(a, lane), v, s0);
            }

            a += TElement.RunBytes;
            x += LowRankLayout.Run;
        }

        h[0] = factor * TSimd.Sum(s0);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2Ranks8(float* x, float* z, float* tail, float* tailZ, byte* a, int runs, float factor, float* hx, float* hz)
    {
        TVector s0 = TSimd.Zero;
        TVector s1 = TSimd.Zero;
        TVector s2 = TSimd.Zero;
        TVector s3 = TSimd.Zero;
        TVector s4 = TSimd.Zero;
        TVector s5 = TSimd.Zero;
        TVector s6 = TSimd.Zero;
        TVector s7 = TSimd.Zero;
        TVector t0 = TSimd.Zero;
        TVector t1 = TSimd.Zero;
        TVector t2 = TSimd.Zero;
        TVector t3 = TSimd.Zero;
        TVector t4 = TSimd.Zero;
        TVector t5 = TSimd.Zero;
        TVector t6 = TSimd.Zero;
        TVector t7 = TSimd.Zero;
        for (int left = runs; left > 0; left--)
        {
            if (left == 1 && tail is not null)
            {
                x = tail;
                z = tailZ;
            }

            for (int lane = 0; lane < LowRankLayout.Half; lane += TSimd.Count)
            {
                TVector v = TSimd.Load(x + lane);
                TVector u = TSimd.Load(z + lane);
                TVector w = TElement.First<TSimd, TVector>(a, lane);
                s0 = TSimd.MultiplyAdd(w, v, s0);
                t0 = TSimd.MultiplyAdd(w, u, t0);
                w = TElement.First<TSimd, TVector>(a + TElement.RunBytes, lane);
                s1 = TSimd.MultiplyAdd(w, v, s1);
                t1 = TSimd.MultiplyAdd(w, u, t1);
                w = TElement.First<TSimd, TVector>(a + (2 * TElement.RunBytes), lane);
                s2 = TSimd.MultiplyAdd(w, v, s2);
                t2 = TSimd.MultiplyAdd(w, u, t2);
                w = TElement.First<TSimd, TVector>(a + (3 * TElement.RunBytes), lane);
                s3 = TSimd.MultiplyAdd(w, v, s3);
                t3 = TSimd.MultiplyAdd(w, u, t3);
                w = TElement.First<TSimd, TVector>(a + (4 * TElement.RunBytes), lane);
                s4 = TSimd.MultiplyAdd(w, v, s4);
                t4 = TSimd.MultiplyAdd(w, u, t4);
                w = TElement.First<TSimd, TVector>(a + (5 * TElement.RunBytes), lane);
                s5 = TSimd.MultiplyAdd(w, v, s5);
                t5 = TSimd.MultiplyAdd(w, u, t5);
                w = TElement.First<TSimd, TVector>(a + (6 * TElement.RunBytes), lane);
                s6 = TSimd.MultiplyAdd(w, v, s6);
                t6 = TSimd.MultiplyAdd(w, u, t6);
                w = TElement.First<TSimd, TVector>(a + (7 * TElement.RunBytes), lane);
                s7 = TSimd.MultiplyAdd(w, v, s7);
                t7 = TSimd.MultiplyAdd(w, u, t7);
                v = TSimd.Load(x + LowRankLayout.Half + lane);
                u = TSimd.Load(z + LowRankLayout.Half + lane);
                w = TElement.Second<TSimd, TVector>(a, lane);
                s0 = TSimd.MultiplyAdd(w, v, s0);
                t0 = TSimd.MultiplyAdd(w, u, t0);
                w = TElement.Second<TSimd, TVector>(a + TElement.RunBytes, lane);
                s1 = TSimd.MultiplyAdd(w, v, s1);
                t1 = TSimd.MultiplyAdd(w, u, t1);
                w = TElement.Second<TSimd, TVector>(a + (2 * TElement.RunBytes), lane);
                s2 = TSimd.MultiplyAdd(w, v, s2);
                t2 = TSimd.MultiplyAdd(w, u, t2);
                w = TElement.Second<TSimd, TVector>(a + (3 * TElement.RunBytes), lane);
                s3 = TSimd.MultiplyAdd(w, v, s3);
                t3 = TSimd.MultiplyAdd(w, u, t3);
                w = TElement.Second<TSimd, TVector>(a + (4 * TElement.RunBytes), lane);
                s4 = TSimd.MultiplyAdd(w, v, s4);
                t4 = TSimd.MultiplyAdd(w, u, t4);
                w = TElement.Second<TSimd, TVector>(a + (5 * TElement.RunBytes), lane);
                s5 = TSimd.MultiplyAdd(w, v, s5);
                t5 = TSimd.MultiplyAdd(w, u, t5);
                w = TElement.Second<TSimd, TVector>(a + (6 * TElement.RunBytes), lane);
                s6 = TSimd.MultiplyAdd(w, v, s6);
                t6 = TSimd.MultiplyAdd(w, u, t6);
                w = TElement.Second<TSimd, TVector>(a + (7 * TElement.RunBytes), lane);
                s7 = TSimd.MultiplyAdd(w, v, s7);
                t7 = TSimd.MultiplyAdd(w, u, t7);
            }

            a += 8 * TElement.RunBytes;
            x += LowRankLayout.Run;
            z += LowRankLayout.Run;
        }

        hx[0] = factor * TSimd.Sum(s0);
        hx[1] = factor * TSimd.Sum(s1);
        hx[2] = factor * TSimd.Sum(s2);
        hx[3] = factor * TSimd.Sum(s3);
        hx[4] = factor * TSimd.Sum(s4);
        hx[5] = factor * TSimd.Sum(s5);
        hx[6] = factor * TSimd.Sum(s6);
        hx[7] = factor * TSimd.Sum(s7);
        hz[0] = factor * TSimd.Sum(t0);
        hz[1] = factor * TSimd.Sum(t1);
        hz[2] = factor * TSimd.Sum(t2);
        hz[3] = factor * TSimd.Sum(t3);
        hz[4] = factor * TSimd.Sum(t4);
        hz[5] = factor * TSimd.Sum(t5);
        hz[6] = factor * TSimd.Sum(t6);
        hz[7] = factor * TSimd.Sum(t7);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2Ranks4(float* x, float* z, float* tail, float* tailZ, byte* a, int runs, float factor, float* hx, float* hz)
    {
        TVector s0 = TSimd.Zero;
        TVector s1 = TSimd.Zero;
        TVector s2 = TSimd.Zero;
        TVector s3 = TSimd.Zero;
        TVector t0 = TSimd.Zero;
        TVector t1 = TSimd.Zero;
        TVector t2 = TSimd.Zero;
        TVector t3 = TSimd.Zero;
        for (int left = runs; left > 0; left--)
        {
            if (left == 1 && tail is not null)
            {
                x = tail;
                z = tailZ;
            }

            for (int lane = 0; lane < LowRankLayout.Half; lane += TSimd.Count)
            {
                TVector v = TSimd.Load(x + lane);
                TVector u = TSimd.Load(z + lane);
                TVector w = TElement.First<TSimd, TVector>(a, lane);
                s0 = TSimd.MultiplyAdd(w, v, s0);
                t0 = TSimd.MultiplyAdd(w, u, t0);
                w = TElement.First<TSimd, TVector>(a + TElement.RunBytes, lane);
                s1 = TSimd.MultiplyAdd(w, v, s1);
                t1 = TSimd.MultiplyAdd(w, u, t1);
                w = TElement.First<TSimd, TVector>(a + (2 * TElement.RunBytes), lane);
                s2 = TSimd.MultiplyAdd(w, v, s2);
                t2 = TSimd.MultiplyAdd(w, u, t2);
                w = TElement.First<TSimd, TVector>(a + (3 * TElement.RunBytes), lane);
                s3 = TSimd.MultiplyAdd(w, v, s3);
                t3 = TSimd.MultiplyAdd(w, u, t3);
                v = TSimd.Load(x + LowRankLayout.Half + lane);
                u = TSimd.Load(z + LowRankLayout.Half + lane);
                w = TElement.Second<TSimd, TVector>(a, lane);
                s0 = TSimd.MultiplyAdd(w, v, s0);
                t0 = TSimd.MultiplyAdd(w, u, t0);
                w = TElement.Second<TSimd, TVector>(a + TElement.RunBytes, lane);
                s1 = TSimd.MultiplyAdd(w, v, s1);
                t1 = TSimd.MultiplyAdd(w, u, t1);
                w = TElement.Second<TSimd, TVector>(a + (2 * TElement.RunBytes), lane);
                s2 = TSimd.MultiplyAdd(w, v, s2);
                t2 = TSimd.MultiplyAdd(w, u, t2);
                w = TElement.Second<TSimd, TVector>(a + (3 * TElement.RunBytes), lane);
                s3 = TSimd.MultiplyAdd(w, v, s3);
                t3 = TSimd.MultiplyAdd(w, u, t3);
            }

            a += 4 * TElement.RunBytes;
            x += LowRankLayout.Run;
            z += LowRankLayout.Run;
        }

        hx[0] = factor * TSimd.Sum(s0);
        hx[1] = factor * TSimd.Sum(s1);
        hx[2] = factor * TSimd.Sum(s2);
        hx[3] = factor * TSimd.Sum(s3);
        hz[0] = factor * TSimd.Sum(t0);
        hz[1] = factor * TSimd.Sum(t1);
        hz[2] = factor * TSimd.Sum(t2);
        hz[3] = factor * TSimd.Sum(t3);
    }
}
