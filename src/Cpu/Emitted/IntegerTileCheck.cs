using System.Runtime.InteropServices;

namespace InferenceServer.Cpu.Emitted;

/// <summary>Multiplies small matrices of bytes by tiles and compares with their sums, before tiles are trusted with a model.</summary>
internal static unsafe class IntegerTileCheck
{
    private const int Groups = 4;
    private const int Rows = IntegerTileCode.Rows;
    private const int Depth = IntegerTileCode.Quads * sizeof(int);
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
                bool passes = Compare(
                    sums, Groups, 4, (group, tile, row, column) => Sum(tile < 2 ? high : low, weights, group, tile % 2, row, column, isUnsigned: false));
                arguments.Blocks = Groups / 2;
                kernels.NF4(&arguments);
                return passes && Compare(sums, Groups / 2, 2, (group, tile, row, column) =>
                    Sum(high, weights, 2 * group, tile, row, column, isUnsigned: true)
                    + Sum(high, weights, (2 * group) + 1, tile, row, column, isUnsigned: true));
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

    private static bool Compare(int* sums, int groups, int tiles, Func<int, int, int, int, int> expected)
    {
        for (int i = 0; i < groups * tiles * Rows * Tile; i++)
        {
            int tile = i / (Rows * Tile);
            if (sums[i] != expected(tile / tiles, tile % tiles, i / Tile % Rows, i % Tile))
            {
                return false;
            }
        }

        return true;
    }

    private static int Sum(sbyte* x, sbyte* weights, int group, int tile, int row, int column, bool isUnsigned)
    {
        int sum = 0;
        for (int k = 0; k < Depth; k++)
        {
            int place = (((group * 2) + tile) * IntegerTileCode.WeightTileBytes) + (k / 4 * Tile * 4) + (column * 4) + (k % 4);
            sum += x[(((row * Groups) + group) * Depth) + k] * (isUnsigned ? (byte)weights[place] : weights[place]);
        }

        return sum;
    }
}
