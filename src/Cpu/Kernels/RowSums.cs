using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>Sums over one row. Two vectors of partial sums take turns, then are added lane by lane, then across: always in this order.</summary>
internal static unsafe class RowSums<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <summary>Sum of the elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Sum(float* x, int count)
    {
        TVector even = TSimd.Zero;
        TVector odd = TSimd.Zero;
        int i = 0;
        for (; i <= count - (2 * TSimd.Count); i += 2 * TSimd.Count)
        {
            even = TSimd.Add(even, TSimd.Load(x + i));
            odd = TSimd.Add(odd, TSimd.Load(x + i + TSimd.Count));
        }

        for (; i < count; i += TSimd.Count)
        {
            even = TSimd.Add(even, VectorTail<TSimd, TVector>.Load(x + i, Math.Min(TSimd.Count, count - i)));
        }

        return TSimd.Sum(TSimd.Add(even, odd));
    }

    /// <summary>Sum of <c>(x[i] - shift)^2</c>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    public static float SumOfSquares(float* x, int count, float shift)
    {
        TVector even = TSimd.Zero;
        TVector odd = TSimd.Zero;
        TVector shifts = TSimd.Broadcast(shift);
        int i = 0;
        for (; i <= count - (2 * TSimd.Count); i += 2 * TSimd.Count)
        {
            TVector first = TSimd.Subtract(TSimd.Load(x + i), shifts);
            TVector second = TSimd.Subtract(TSimd.Load(x + i + TSimd.Count), shifts);
            even = TSimd.MultiplyAdd(first, first, even);
            odd = TSimd.MultiplyAdd(second, second, odd);
        }

        float sum = TSimd.Sum(TSimd.Add(even, odd));

        // At most two vectors' worth: a padded vector would add shift^2 for each lane beyond the row.
        for (; i < count; i++)
        {
            float difference = x[i] - shift;
            sum += difference * difference;
        }

        return sum;
    }
}
