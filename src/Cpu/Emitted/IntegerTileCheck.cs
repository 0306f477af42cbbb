using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Emitted;

/// <summary>Multiplies small matrices of bytes by tiles and compares with their sums, before tiles are trusted with a model.</summary>
internal static unsafe class IntegerTileCheck
{
    private const int Groups = 2;
    private const int Rows = IntegerTileCode.Rows;
    private const int Depth = QuantizeRows.GroupSize;
    private const int Tile = 16;
    private const int XBytes = Rows * Groups * Depth;
    private const int WeightBytes = Groups * 2 * IntegerTileCode.WeightTileBytes;
    private const int SumBytes = Groups * IntegerTileCode.SumBytes;

    /// <summary>Whether both kernels give the sums.</summary>
    public static bool Passes(ITileKernels kernels)
    {
        byte* memory = (byte*)NativeMemory.AlignedAlloc((2 * XBytes) + WeightBytes + SumBytes, KernelParts.VectorBytes);
        try
        {
            new Random(1).NextBytes(new Span<byte>(memory, (2 * XBytes) + WeightBytes));
            sbyte* high = (sbyte*)memory;
            sbyte* low = high + XBytes;
            sbyte* weights = low + XBytes;
            int* sums = (int*)(weights + WeightBytes);
            DotArguments arguments = new()
            {
                X = (byte*)high,
                B1 = (byte*)low,
                XStride = Groups * Depth,
                B0 = (byte*)weights,
                C = (float*)sums,
                Blocks = Groups,
            };
            kernels.BeginIntegers();
            try
            {
                kernels.Int8(&arguments);
                bool passes = Compare(sums, (group, tile, row, column) => Sum(tile < 2 ? high : low, weights, group, tile % 2, row, column));
                kernels.NF4(&arguments);
                return passes && Compare(sums, (group, tile, row, column) => tile switch
                {
                    0 => Sum(high, weights, group, 0, row, column),
                    1 => Sum(high, weights, group, 1, row, column) + Sum(low, weights, group, 0, row, column),
                    2 => Sum(low, weights, group, 1, row, column),
                    _ => 0,
                });
            }
            finally
            {
                kernels.End();
            }
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    private static bool Compare(int* sums, Func<int, int, int, int, int> expected)
    {
        for (int i = 0; i < SumBytes / sizeof(int); i++)
        {
            int tile = i / (Rows * Tile);
            if (sums[i] != expected(tile / 4, tile % 4, i / Tile % Rows, i % Tile))
            {
                return false;
            }
        }

        return true;
    }

    private static int Sum(sbyte* x, sbyte* weights, int group, int tile, int row, int column)
    {
        int sum = 0;
        for (int k = 0; k < Depth; k++)
        {
            int place = (((group * 2) + tile) * IntegerTileCode.WeightTileBytes) + (k / 4 * Tile * 4) + (column * 4) + (k % 4);
            sum += x[(((row * Groups) + group) * Depth) + k] * weights[place];
        }

        return sum;
    }
}
