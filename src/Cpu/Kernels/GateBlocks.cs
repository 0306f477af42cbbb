using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Simd;

namespace InferenceServer.Cpu.Kernels;

/// <summary>Between the halves of a low-rank change: <c>h[t, r] *= g(x[t])[block of r]</c>, the gate's weights of each row by its own x.</summary>
internal static unsafe class GateBlocks<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <param name="rows">Rows of x and h.</param>
    /// <param name="x">Inputs.</param>
    /// <param name="xStride">Floats between rows of x.</param>
    /// <param name="gate">The gate.</param>
    /// <param name="depth">Inputs.</param>
    /// <param name="g">Scratch <c>[rows][gStride]</c> for the weights of the blocks.</param>
    /// <param name="gStride">Floats between rows of g: the blocks, rounded up.</param>
    /// <param name="h"><c>A x</c>, <c>[rows][hStride]</c>; scaled in place.</param>
    /// <param name="hStride">Floats between rows of h.</param>
    /// <param name="tails">Scratch of <see cref="Shrink{TSimd, TVector, TElement}.TailFloats"/>.</param>
    public static void Apply(
        int rows, float* x, nint xStride, AdapterGate gate, int depth, float* g, nint gStride, float* h, nint hStride, float* tails)
    {
        // The same dot products as A's: a row's scores have the same bits alone and among others.
        Shrink<TSimd, TVector, F32Run>.Apply(rows, x, xStride, gate.Weight.Pointer, gate.Blocks, depth, 1f, g, gStride, tails);
        for (int row = 0; row < rows; row++)
        {
            float* weights = g + (row * gStride);
            GateSoftmax.Apply(weights, gate.Bias is null ? null : (float*)gate.Bias.Pointer, gate.Blocks, gate.Temperature, gate.TopK, weights);
            float* values = h + (row * hStride);
            for (int block = 0; block < gate.Blocks; block++)
            {
                // The block ranks add up to R, so values stays within the row.
                for (int rank = gate.BlockRanks[block]; rank > 0; rank--)
                {
                    *values++ *= weights[block];
                }
            }
        }
    }
}
