using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary><c>y += weight * x</c> for one row.</summary>
internal static unsafe class WeightedAdd<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Apply(float* x, float weight, float* y, int count)
    {
        TVector weights = TSimd.Broadcast(weight);
        int i = 0;
        for (; i <= count - TSimd.Count; i += TSimd.Count)
        {
            TSimd.Store(TSimd.MultiplyAdd(weights, TSimd.Load(x + i), TSimd.Load(y + i)), y + i);
        }

        if (i < count)
        {
            int rest = count - i;
            TVector sum = TSimd.MultiplyAdd(
                weights, VectorTail<TSimd, TVector>.Load(x + i, rest), VectorTail<TSimd, TVector>.Load(y + i, rest));
            VectorTail<TSimd, TVector>.Store(sum, y + i, rest);
        }
    }
}
