using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// The first half of a low-rank change: <c>h[t, r] = factor * (A[r] . x[t])</c>, dot products over the inputs.
/// </summary>
/// <remarks>
/// A lane takes every <c>Count</c>-th input; the lanes of a sum are added across at the end. Each (row, rank) has one accumulator
/// whatever is computed beside it, so a row gets the same bits alone and among a hundred. Two rows and four ranks go together: that
/// loads each x and each A once for several products, and the eight independent sums hide the latency of a multiply-add.
/// </remarks>
internal static unsafe class Shrink<TSimd, TVector, TElement>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TElement : struct, IPanelElement
{
    /// <summary>Ranks computed together.</summary>
    public const int RanksAtOnce = 4;

    /// <param name="rows">Rows of x.</param>
    /// <param name="x">Inputs.</param>
    /// <param name="xStride">Floats between rows of x.</param>
    /// <param name="a">A, <c>[ranks][aStride]</c>, zeros from <paramref name="depth"/> up to the next multiple of 16.</param>
    /// <param name="aStride">Elements between rows of A.</param>
    /// <param name="ranks">R.</param>
    /// <param name="depth">Inputs.</param>
    /// <param name="factor">Factor of the results.</param>
    /// <param name="h">Results <c>[rows][hStride]</c>; up to 3 floats after the last rank of a row are written too.</param>
    /// <param name="hStride">Floats between rows of h.</param>
    public static void Apply(int rows, float* x, nint xStride, byte* a, nint aStride, int ranks, int depth, float factor, float* h, nint hStride)
    {
        nint rankBytes = aStride * TElement.Size;
        for (int rank = 0; rank < ranks; rank += RanksAtOnce)
        {
            // Where fewer than four are left the last one is computed again instead of reading past the end.
            byte* a0 = a + (rank * rankBytes);
            byte* a1 = a + (Math.Min(rank + 1, ranks - 1) * rankBytes);
            byte* a2 = a + (Math.Min(rank + 2, ranks - 1) * rankBytes);
            byte* a3 = a + (Math.Min(rank + 3, ranks - 1) * rankBytes);
            int row = 0;
            for (; row + 2 <= rows; row += 2)
            {
                float* target = h + (row * hStride) + rank;
                Dot2(x + (row * xStride), x + ((row + 1) * xStride), a0, a1, a2, a3, depth, factor, target, target + hStride);
            }

            if (row < rows)
            {
                Dot1(x + (row * xStride), a0, a1, a2, a3, depth, factor, h + (row * hStride) + rank);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot1(float* x, byte* a0, byte* a1, byte* a2, byte* a3, int depth, float factor, float* h)
    {
        TVector s0 = TSimd.Zero;
        TVector s1 = TSimd.Zero;
        TVector s2 = TSimd.Zero;
        TVector s3 = TSimd.Zero;
        for (int k = 0; k < depth; k += TSimd.Count)
        {
            // A is padded, x is not.
            TVector v = k + TSimd.Count <= depth ? TSimd.Load(x + k) : VectorTail<TSimd, TVector>.Load(x + k, depth - k);
            nint at = (nint)k * TElement.Size;
            SoftwarePrefetch.Ahead(a0 + at);
            SoftwarePrefetch.Ahead(a1 + at);
            SoftwarePrefetch.Ahead(a2 + at);
            SoftwarePrefetch.Ahead(a3 + at);
            s0 = TSimd.MultiplyAdd(TElement.Load<TSimd, TVector>(a0 + at), v, s0);
            s1 = TSimd.MultiplyAdd(TElement.Load<TSimd, TVector>(a1 + at), v, s1);
            s2 = TSimd.MultiplyAdd(TElement.Load<TSimd, TVector>(a2 + at), v, s2);
            s3 = TSimd.MultiplyAdd(TElement.Load<TSimd, TVector>(a3 + at), v, s3);
        }

        h[0] = factor * TSimd.Sum(s0);
        h[1] = factor * TSimd.Sum(s1);
        h[2] = factor * TSimd.Sum(s2);
        h[3] = factor * TSimd.Sum(s3);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot2(float* x, float* z, byte* a0, byte* a1, byte* a2, byte* a3, int depth, float factor, float* hx, float* hz)
    {
        TVector s0 = TSimd.Zero;
        TVector s1 = TSimd.Zero;
        TVector s2 = TSimd.Zero;
        TVector s3 = TSimd.Zero;
        TVector t0 = TSimd.Zero;
        TVector t1 = TSimd.Zero;
        TVector t2 = TSimd.Zero;
        TVector t3 = TSimd.Zero;
        for (int k = 0; k < depth; k += TSimd.Count)
        {
            bool whole = k + TSimd.Count <= depth;
            TVector v = whole ? TSimd.Load(x + k) : VectorTail<TSimd, TVector>.Load(x + k, depth - k);
            TVector u = whole ? TSimd.Load(z + k) : VectorTail<TSimd, TVector>.Load(z + k, depth - k);
            nint at = (nint)k * TElement.Size;
            TVector w = TElement.Load<TSimd, TVector>(a0 + at);
            s0 = TSimd.MultiplyAdd(w, v, s0);
            t0 = TSimd.MultiplyAdd(w, u, t0);
            w = TElement.Load<TSimd, TVector>(a1 + at);
            s1 = TSimd.MultiplyAdd(w, v, s1);
            t1 = TSimd.MultiplyAdd(w, u, t1);
            w = TElement.Load<TSimd, TVector>(a2 + at);
            s2 = TSimd.MultiplyAdd(w, v, s2);
            t2 = TSimd.MultiplyAdd(w, u, t2);
            w = TElement.Load<TSimd, TVector>(a3 + at);
            s3 = TSimd.MultiplyAdd(w, v, s3);
            t3 = TSimd.MultiplyAdd(w, u, t3);
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
