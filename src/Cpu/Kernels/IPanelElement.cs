using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>How one vector of weights is loaded as f32.</summary>
internal unsafe interface IPanelElement
{
    /// <summary>Bytes of one weight.</summary>
    static abstract int Size { get; }

    static abstract TVector Load<TSimd, TVector>(byte* source)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct;
}

/// <summary>Weights that are f32 already.</summary>
internal readonly unsafe struct F32Element : IPanelElement
{
    public static int Size => sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TSimd, TVector>(byte* source)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.Load((float*)source);
}

/// <summary>bf16 weights, widened on the way.</summary>
internal readonly unsafe struct BF16Element : IPanelElement
{
    public static int Size => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TSimd, TVector>(byte* source)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct => TSimd.LoadBFloat16((ushort*)source);
}
