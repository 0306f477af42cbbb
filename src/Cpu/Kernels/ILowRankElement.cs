using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>How a vector's width of a run of 32 elements is loaded as f32 (see <see cref="LowRankLayout"/>).</summary>
internal unsafe interface ILowRankElement
{
    /// <summary>Bytes of a run.</summary>
    static abstract int RunBytes { get; }

    /// <summary>Elements from <paramref name="lane"/> on, of the first 16.</summary>
    static abstract TVector First<TSimd, TVector>(byte* run, int lane)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct;

    /// <summary>Elements from 16 + <paramref name="lane"/> on.</summary>
    static abstract TVector Second<TSimd, TVector>(byte* run, int lane)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct;
}

/// <summary>Runs of f32.</summary>
internal readonly unsafe struct F32Run : ILowRankElement
{
    public static int RunBytes => LowRankLayout.Run * sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector First<TSimd, TVector>(byte* run, int lane)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.Load((float*)run + lane);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Second<TSimd, TVector>(byte* run, int lane)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.Load((float*)run + LowRankLayout.Half + lane);
}

/// <summary>Runs of bf16 in pairs.</summary>
internal readonly unsafe struct BF16Run : ILowRankElement
{
    public static int RunBytes => LowRankLayout.Run * sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector First<TSimd, TVector>(byte* run, int lane)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.LoadPairsFirst((uint*)run + lane);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Second<TSimd, TVector>(byte* run, int lane)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.LoadPairsSecond((uint*)run + lane);
}
