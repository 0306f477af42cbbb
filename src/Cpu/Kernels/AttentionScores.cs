using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Products of queries with two vectors' width of keys: <c>scores[n, key] = sum over d of q[n, d] * keys[d, key]</c>, a lane for each key,
/// one chain of multiply-adds in the order of d whatever is computed beside it.
/// </summary>
/// <remarks>While it reads these keys it asks for what is read next, wherever in the cache that lies: a processor cannot guess the next block.</remarks>
internal static unsafe class AttentionScores<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <param name="queries">Queries n.</param>
    /// <param name="q">Queries <c>[n][depth]</c>.</param>
    /// <param name="depth">Head size.</param>
    /// <param name="keys0">First vector of keys at d = 0.</param>
    /// <param name="keys1">Second; may be the first, with scores that nobody reads.</param>
    /// <param name="keyStride">Floats from one d to the next.</param>
    /// <param name="next0">Asked for meanwhile, depth steps of <paramref name="keyStride"/>.</param>
    /// <param name="next1">The same.</param>
    /// <param name="scores0">Result for the first vector.</param>
    /// <param name="scores1">Result for the second.</param>
    /// <param name="scoreStride">Floats from one query's scores to the next.</param>
    public static void Multiply(
        int queries, float* q, int depth, float* keys0, float* keys1, nint keyStride, float* next0, float* next1, float* scores0, float* scores1, nint scoreStride)
    {
        while (queries > 0)
        {
            int count;
            if (TSimd.MaxRows >= 8 && queries >= 8)
            {
                count = 8;
                Queries8(q, depth, keys0, keys1, keyStride, next0, next1, scores0, scores1, scoreStride);
            }
            else if (queries >= 4)
            {
                count = 4;
                Queries4(q, depth, keys0, keys1, keyStride, next0, next1, scores0, scores1, scoreStride);
            }
            else if (queries >= 2)
            {
                count = 2;
                Queries2(q, depth, keys0, keys1, keyStride, next0, next1, scores0, scores1, scoreStride);
            }
            else
            {
                count = 1;
                Queries1(q, depth, keys0, keys1, keyStride, next0, next1, scores0, scores1, scoreStride);
            }

            queries -= count;
            q += (nint)count * depth;
            scores0 += count * scoreStride;
            scores1 += count * scoreStride;

            // The rest of the queries find all of it in the cache: asking for what is there costs nothing.
            next0 = keys0;
            next1 = keys1;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Queries1(
        float* q, int depth, float* keys0, float* keys1, nint keyStride, float* next0, float* next1, float* scores0, float* scores1, nint scoreStride)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        for (int d = 0; d < depth; d++)
        {
            SoftwarePrefetch.At(next0);
            SoftwarePrefetch.At(next1);
            TVector k0 = TSimd.Load(keys0);
            TVector k1 = TSimd.Load(keys1);
            next0 += keyStride;
            next1 += keyStride;
            keys0 += keyStride;
            keys1 += keyStride;
            TVector s = TSimd.Broadcast(q[d]);
            a00 = TSimd.MultiplyAdd(k0, s, a00);
            a01 = TSimd.MultiplyAdd(k1, s, a01);
        }

        TSimd.Store(a00, scores0);
        TSimd.Store(a01, scores1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Queries2(
        float* q, int depth, float* keys0, float* keys1, nint keyStride, float* next0, float* next1, float* scores0, float* scores1, nint scoreStride)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        float* q1 = q + depth;
        for (int d = 0; d < depth; d++)
        {
            SoftwarePrefetch.At(next0);
            SoftwarePrefetch.At(next1);
            TVector k0 = TSimd.Load(keys0);
            TVector k1 = TSimd.Load(keys1);
            next0 += keyStride;
            next1 += keyStride;
            keys0 += keyStride;
            keys1 += keyStride;
            TVector s = TSimd.Broadcast(q[d]);
            a00 = TSimd.MultiplyAdd(k0, s, a00);
            a01 = TSimd.MultiplyAdd(k1, s, a01);
            s = TSimd.Broadcast(q1[d]);
            a10 = TSimd.MultiplyAdd(k0, s, a10);
            a11 = TSimd.MultiplyAdd(k1, s, a11);
        }

        TSimd.Store(a00, scores0);
        TSimd.Store(a01, scores1);
        TSimd.Store(a10, scores0 + scoreStride);
        TSimd.Store(a11, scores1 + scoreStride);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Queries4(
        float* q, int depth, float* keys0, float* keys1, nint keyStride, float* next0, float* next1, float* scores0, float* scores1, nint scoreStride)
    {
        TVector a00 = TSimd.Zero;
        TVector a01 = TSimd.Zero;
        TVector a10 = TSimd.Zero;
        TVector a11 = TSimd.Zero;
        TVector a20 = TSimd.Zero;
        TVector a21 = TSimd.Zero;
        TVector a30 = TSimd.Zero;
        TVector a31 = TSimd.Zero;
        float* q1 = q + depth;
        float* q2 = q + (2 * (nint)depth);
        float* q3 = q + (3 * (nint)depth);
        for (int d = 0; d < depth; d++)
        {
            SoftwarePrefetch.At(next0);
            SoftwarePrefetch.At(next1);
            TVector k0 = TSimd.Load(keys0);
            TVector k1 = TSimd.Load(keys1);
            next0 += keyStride;
            next1 += keyStride;
            keys0 += keyStride;
            keys1 += keyStride;
            TVector s = TSimd.Broadcast(q[d]);
            a00 = TSimd.MultiplyAdd(k0, s, a00);
            a01 = TSimd.MultiplyAdd(k1, s, a01);
            s = TSimd.Broadcast(q1[d]);
            a10 = TSimd.MultiplyAdd(k0, s, a10);
            a11 = TSimd.MultiplyAdd(k1, s, a11);
            s = TSimd.Broadcast(q2[d]);
            a20 = TSimd.MultiplyAdd(k0, s, a20);
            a21 = TSimd.MultiplyAdd(k1, s, a21);
            s = TSimd.Broadcast(q3[d]);
            a30 = TSimd.MultiplyAdd(k0, s, a30);
            a31 = TSimd.MultiplyAdd(k1, s, a31);
        }

        TSimd.Store(a00, scores0);
        TSimd.Store(a01, scores1);
        TSimd.Store(a10, scores0 + scoreStride);
        TSimd.Store(a11, scores1 + scoreStride);
        TSimd.Store(a20, scores0 + (2 * scoreStride));
        TSimd.Store(a21, scores1 + (2 * scoreStride));
        TSimd.Store(a30, scores0 + (3 * scoreStride));
        TSimd.Store(a31, scores1 + (3 * scoreStride));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Queries8(
        float* q, int depth, float* keys0, float* keys1, nint keyStride, float* next0, float* next1, float* scores0, float* scores1, nint scoreStride)
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
        float* q1 = q + depth;
        float* q2 = q + (2 * (nint)depth);
        float* q3 = q + (3 * (nint)depth);
        float* q4 = q + (4 * (nint)depth);
        float* q5 = q + (5 * (nint)depth);
        float* q6 = q + (6 * (nint)depth);
        float* q7 = q + (7 * (nint)depth);
        for (int d = 0; d < depth; d++)
        {
            SoftwarePrefetch.At(next0);
            SoftwarePrefetch.At(next1);
            TVector k0 = TSimd.Load(keys0);
            TVector k1 = TSimd.Load(keys1);
            next0 += keyStride;
            next1 += keyStride;
            keys0 += keyStride;
            keys1 += keyStride;
            TVector s = TSimd.Broadcast(q[d]);
            a00 = TSimd.MultiplyAdd(k0, s, a00);
            a01 = TSimd.MultiplyAdd(k1, s, a01);
            s = TSimd.Broadcast(q1[d]);
            a10 = TSimd.MultiplyAdd(k0, s, a10);
            a11 = TSimd.MultiplyAdd(k1, s, a11);
            s = TSimd.Broadcast(q2[d]);
            a20 = TSimd.MultiplyAdd(k0, s, a20);
            a21 = TSimd.MultiplyAdd(k1, s, a21);
            s = TSimd.Broadcast(q3[d]);
            a30 = TSimd.MultiplyAdd(k0, s, a30);
            a31 = TSimd.MultiplyAdd(k1, s, a31);
            s = TSimd.Broadcast(q4[d]);
            a40 = TSimd.MultiplyAdd(k0, s, a40);
            a41 = TSimd.MultiplyAdd(k1, s, a41);
            s = TSimd.Broadcast(q5[d]);
            a50 = TSimd.MultiplyAdd(k0, s, a50);
            a51 = TSimd.MultiplyAdd(k1, s, a51);
            s = TSimd.Broadcast(q6[d]);
            a60 = TSimd.MultiplyAdd(k0, s, a60);
            a61 = TSimd.MultiplyAdd(k1, s, a61);
            s = TSimd.Broadcast(q7[d]);
            a70 = TSimd.MultiplyAdd(k0, s, a70);
            a71 = TSimd.MultiplyAdd(k1, s, a71);
        }

        TSimd.Store(a00, scores0);
        TSimd.Store(a01, scores1);
        TSimd.Store(a10, scores0 + scoreStride);
        TSimd.Store(a11, scores1 + scoreStride);
        TSimd.Store(a20, scores0 + (2 * scoreStride));
        TSimd.Store(a21, scores1 + (2 * scoreStride));
        TSimd.Store(a30, scores0 + (3 * scoreStride));
        TSimd.Store(a31, scores1 + (3 * scoreStride));
        TSimd.Store(a40, scores0 + (4 * scoreStride));
        TSimd.Store(a41, scores1 + (4 * scoreStride));
        TSimd.Store(a50, scores0 + (5 * scoreStride));
        TSimd.Store(a51, scores1 + (5 * scoreStride));
        TSimd.Store(a60, scores0 + (6 * scoreStride));
        TSimd.Store(a61, scores1 + (6 * scoreStride));
        TSimd.Store(a70, scores0 + (7 * scoreStride));
        TSimd.Store(a71, scores1 + (7 * scoreStride));
    }
}
