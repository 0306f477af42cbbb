using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>Turns the scores of one query and one chunk of keys into 2^(score - largest), where scores are in units of ln 2: e^ of what they were.</summary>
internal static unsafe class ChunkSoftmax<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int Lanes = 16;
    private const float Log2E = 1.44269504f;

    /// <summary>Applies scale, soft cap and softmax's exponential to the visible keys first..last, in place; others near them become 0.</summary>
    /// <param name="scores">Raw products, from the chunk's first key; whole runs of 16 are read and written.</param>
    /// <param name="first">First visible key of the chunk.</param>
    /// <param name="last">Last visible key of the chunk.</param>
    /// <param name="scale">Factor of the products.</param>
    /// <param name="softCap">Cap of the scaled scores, or 0.</param>
    /// <returns>
    /// The largest score in units of ln 2, and the sum of the exponentials: by lane first, so it depends on the keys' positions only.
    /// </returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static (float Maximum, float Sum) Apply(float* scores, int first, int last, float scale, float softCap)
    {
        int from = first / Lanes * Lanes;
        int to = (last + Lanes) / Lanes * Lanes;
        float factor = scale * Log2E;
        if (softCap > 0 || !(factor > 0))
        {
            ScaleAndCap(scores, from, to, scale, softCap);
            factor = Log2E;
        }

        // Fewer than 16 keys on either side; what lies there belongs to nobody.
        for (int key = from; key < first; key++)
        {
            scores[key] = float.NegativeInfinity;
        }

        for (int key = last + 1; key < to; key++)
        {
            scores[key] = float.NegativeInfinity;
        }

        TVector maxima = TSimd.Load(scores + from);
        for (int key = from + TSimd.Count; key < to; key += TSimd.Count)
        {
            maxima = TSimd.Max(maxima, TSimd.Load(scores + key));
        }

        // Rounding keeps the order: the largest product is the largest score.
        float maximum = TSimd.Largest(maxima) * factor;
        TVector factors = TSimd.Broadcast(factor);
        TVector below = TSimd.Broadcast(-maximum);
        TVector sums = TSimd.Zero;
        for (int key = from; key < to; key += TSimd.Count)
        {
            TVector power = VectorMath<TSimd, TVector>.PowerOfTwo(TSimd.MultiplyAdd(TSimd.Load(scores + key), factors, below));
            sums = TSimd.Add(sums, power);
            TSimd.Store(power, scores + key);
        }

        return (maximum, TSimd.Sum(sums));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScaleAndCap(float* scores, int from, int to, float scale, float softCap)
    {
        TVector scales = TSimd.Broadcast(scale);
        TVector cap = TSimd.Broadcast(softCap);
        for (int key = from; key < to; key += TSimd.Count)
        {
            TVector score = TSimd.Multiply(TSimd.Load(scores + key), scales);
            if (softCap > 0)
            {
                score = TSimd.Multiply(cap, VectorMath<TSimd, TVector>.Tanh(TSimd.Divide(score, cap)));
            }

            TSimd.Store(score, scores + key);
        }
    }
}
