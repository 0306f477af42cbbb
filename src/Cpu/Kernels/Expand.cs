using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// The second half of a low-rank change: <c>y[t, o] += sum over r of h[t, r] B[o, r]</c>, with a lane for each output. The sum is finished
/// in the order of r before it is added to y.
/// </summary>
internal static unsafe class Expand<TSimd, TVector, TElement>
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TElement : struct, IPanelElement
{
    /// <summary>Floats of the scratch tile for so many rows.</summary>
    public static int TileFloats(int rows) => rows * PanelLayout.Width;

    /// <param name="rows">Rows of h and y.</param>
    /// <param name="h"><c>[rows][hStride]</c>.</param>
    /// <param name="hStride">Floats between rows of h.</param>
    /// <param name="b">B in panels <c>[out/32][ranks][32]</c>.</param>
    /// <param name="ranks">R.</param>
    /// <param name="outputs">Outputs.</param>
    /// <param name="y">Target.</param>
    /// <param name="yStride">Floats between rows of y.</param>
    /// <param name="tile">Scratch of <see cref="TileFloats"/>.</param>
    public static void Apply(int rows, float* h, nint hStride, byte* b, int ranks, int outputs, float* y, nint yStride, float* tile)
    {
        nint step = PanelLayout.Width * TElement.Size;
        for (int column = 0; column < outputs; column += PanelLayout.Width)
        {
            byte* panel = b + ((nint)(column / PanelLayout.Width) * ranks * step);
            int width = Math.Min(PanelLayout.Width, outputs - column);
            bool whole = width == PanelLayout.Width;
            float* target = whole ? y + column : tile;
            nint stride = whole ? yStride : PanelLayout.Width;
            for (int lane = 0; lane < PanelLayout.Width; lane += 2 * TSimd.Count)
            {
                byte* b0 = panel + (lane * TElement.Size);
                PanelKernel<TSimd, TVector, TElement>.Multiply(
                    rows,
                    h,
                    hStride,
                    b0,
                    b0 + (TSimd.Count * TElement.Size),
                    step,
                    ranks,
                    target + lane,
                    target + lane + TSimd.Count,
                    stride,
                    whole ? PanelMode.Add : PanelMode.Overwrite);
            }

            if (!whole)
            {
                for (int row = 0; row < rows; row++)
                {
                    for (int i = 0; i < width; i++)
                    {
                        y[(row * yStride) + column + i] += tile[(row * PanelLayout.Width) + i];
                    }
                }
            }
        }
    }
}
