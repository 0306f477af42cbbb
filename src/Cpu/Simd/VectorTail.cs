using System.Runtime.CompilerServices;

namespace InferenceServer.Cpu.Simd;

/// <summary>Loads and stores of fewer elements than a vector has lanes, at the end of a row; nothing beyond the row is touched.</summary>
internal static unsafe class VectorTail<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int MaxLanes = 16;

    /// <summary>The first <paramref name="count"/> lanes from memory, zeros in the others.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static TVector Load(float* source, int count)
    {
        float* lanes = stackalloc float[MaxLanes];
        for (int i = 0; i < MaxLanes; i++)
        {
            lanes[i] = i < count ? source[i] : 0;
        }

        return TSimd.Load(lanes);
    }

    /// <summary>Stores the first <paramref name="count"/> lanes.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Store(TVector value, float* target, int count)
    {
        float* lanes = stackalloc float[MaxLanes];
        TSimd.Store(value, lanes);
        for (int i = 0; i < count; i++)
        {
            target[i] = lanes[i];
        }
    }
}
