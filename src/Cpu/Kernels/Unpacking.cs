using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Turns the codes of a block into weights, <c>w = value(code) * scale</c>, rounded once: the same bits for every vector width, so the
/// widest there is does it.
/// </summary>
internal static unsafe class Unpacking<TCodes>
    where TCodes : struct, IQuantizedCodes
{
    /// <summary>Unpacks one block, <c>[depth][32]</c>.</summary>
    /// <param name="codes">The block's codes.</param>
    /// <param name="scales">Its 32 scales.</param>
    /// <param name="depth">Inputs wanted, from the first on.</param>
    /// <param name="target">Receives <paramref name="depth"/> rows of 32.</param>
    public static void Unpack(byte* codes, float* scales, int depth, float* target)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Unpack<Simd512, Vector512<float>>(codes, scales, depth, target);
        }
        else if (Vector256.IsHardwareAccelerated)
        {
            Unpack<Simd256, Vector256<float>>(codes, scales, depth, target);
        }
        else
        {
            Unpack<SimdScalar, float>(codes, scales, depth, target);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Unpack<TSimd, TVector>(byte* codes, float* scales, int depth, float* target)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
    {
        float* table = NF4Panels.Values;
        for (int column = 0; column < PanelLayout.Width; column += TSimd.Count)
        {
            TVector scale = TSimd.Load(scales + column);
            byte* step = codes + (column * TCodes.ColumnBytes);
            float* to = target + column;
            for (int k = 0; k < depth; k += IQuantizedCodes.StepDepth)
            {
                TVector bits = TCodes.Begin<TSimd, TVector>(step);
                int count = Math.Min(IQuantizedCodes.StepDepth, depth - k);
                for (int i = 0; i < count; i++)
                {
                    TSimd.Store(TSimd.Multiply(TCodes.Values<TSimd, TVector>(table, bits, step, i), scale), to);
                    bits = TCodes.Next<TSimd, TVector>(bits);
                    to += PanelLayout.Width;
                }

                step += TCodes.StepBytes;
            }
        }
    }
}
