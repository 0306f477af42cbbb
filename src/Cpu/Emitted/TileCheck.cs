using System.Runtime.InteropServices;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>Multiplies small matrices by tiles and compares with sums in f64, before tiles are trusted with a model.</summary>
internal static unsafe class TileCheck
{
    private const int Rows = 32;
    private const int Columns = 64;
    private const int Depth = 64;
    private const int PanelColumns = 32;
    private const int BlockDepth = 32;
    private const int TileRows = TileKernelCode.TileRows;
    private const double Tolerance = 1e-5;

    private delegate void Kernel(DotArguments* arguments);

    /// <summary>Whether the kernels give the product, begun in one piece and gone on with in another.</summary>
    public static bool Passes(ITileKernels kernels)
    {
        const int XBytes = Rows * Depth * sizeof(ushort);
        const int PanelBytes = PanelColumns * Depth * sizeof(ushort);
        byte* memory = (byte*)NativeMemory.AlignedAlloc(XBytes + (2 * PanelBytes) + (Rows * Columns * sizeof(float)), KernelParts.VectorBytes);
        try
        {
            ushort* x = (ushort*)memory;
            ushort* panels = (ushort*)(memory + XBytes);
            float* c = (float*)(memory + XBytes + (2 * PanelBytes));
            Random random = new(1);
            for (int i = 0; i < (XBytes + (2 * PanelBytes)) / sizeof(ushort); i++)
            {
                x[i] = BFloat16.FromSingle((random.NextSingle() * 2) - 1);
            }

            kernels.Begin();
            try
            {
                return Multiply(x, panels, c, kernels.Narrow, square: false)
                    && Multiply(x, panels, c, kernels.Square, square: true)
                    && Multiply(x, panels, c, kernels.SquareAhead, square: true);
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

    /// <summary>Whether one row by vectors has the bits that it has by tiles; where not, it must go by tiles.</summary>
    public static bool RowHasSameBits(ITileKernels kernels)
    {
        const int PanelElements = PanelColumns * Depth;
        byte* memory = (byte*)NativeMemory.AlignedAlloc(
            (TileRows * Depth * sizeof(ushort)) + (Depth * sizeof(float)) + (2 * PanelElements * sizeof(ushort)) + ((TileRows + 1) * Columns * sizeof(float)),
            KernelParts.VectorBytes);
        try
        {
            ushort* x = (ushort*)memory;
            float* row = (float*)(x + (TileRows * Depth));
            ushort* panels = (ushort*)(row + Depth);
            float* c = (float*)(panels + (2 * PanelElements));
            float* own = c + (TileRows * Columns);
            Random random = new(2);
            new Span<ushort>(x, TileRows * Depth).Clear();
            for (int k = 0; k < Depth; k++)
            {
                x[InputPlace(0, k)] = BFloat16.FromSingle((random.NextSingle() * 2) - 1);
                row[k] = BFloat16.ToSingle(x[InputPlace(0, k)]);
            }

            for (int i = 0; i < 2 * PanelElements; i++)
            {
                panels[i] = BFloat16.FromSingle((random.NextSingle() * 2) - 1);
            }

            DotArguments arguments = new()
            {
                X = (byte*)x,
                B0 = (byte*)panels,
                B1 = (byte*)(panels + PanelElements),
                Prefetch0 = (byte*)panels,
                Prefetch1 = (byte*)panels,
                C = c,
                CStride = Columns * sizeof(float),
                Blocks = Depth / BlockDepth,
            };
            kernels.Begin();
            kernels.Narrow(&arguments);
            kernels.End();
            arguments.X = (byte*)row;
            arguments.C = own;
            kernels.Row(&arguments);
            return new ReadOnlySpan<byte>(c, Columns * sizeof(float)).SequenceEqual(new ReadOnlySpan<byte>(own, Columns * sizeof(float)));
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    private static bool Multiply(ushort* x, ushort* panels, float* c, Kernel kernel, bool square)
    {
        const int PanelElements = PanelColumns * Depth;
        DotArguments arguments = new() { XStride = TileRows * Depth * sizeof(ushort), C = c, CStride = Columns * sizeof(float), Blocks = 1 };
        for (int block = 0; block < Depth / BlockDepth; block++)
        {
            arguments.X = (byte*)(x + (block * BlockDepth * TileRows));
            arguments.B0 = (byte*)(panels + (block * BlockDepth * PanelColumns));
            arguments.B1 = arguments.B0 + (PanelElements * sizeof(ushort));
            arguments.Prefetch0 = arguments.B0;
            arguments.Prefetch1 = arguments.B1;
            arguments.Resume = block;
            kernel(&arguments);
        }

        int rows = square ? Rows : Rows / 2;
        int columns = square ? PanelColumns : Columns;
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                double sum = 0;
                double size = 0;
                for (int k = 0; k < Depth; k++)
                {
                    ushort* panel = panels + (column / PanelColumns * PanelElements);
                    double product = (double)BFloat16.ToSingle(x[InputPlace(row, k)]) * BFloat16.ToSingle(panel[Place(k, column % PanelColumns)]);
                    sum += product;
                    size += Math.Abs(product);
                }

                if (!(Math.Abs(sum - c[(row * Columns) + column]) <= Tolerance * size))
                {
                    return false;
                }
            }
        }

        return true;
    }

    /// <summary>Where <see cref="TileRows"/> puts an input: [rows / 16][blocks of 32][16][32].</summary>
    private static int InputPlace(int row, int k) =>
        (row / TileRows * TileRows * Depth) + (k / BlockDepth * BlockDepth * TileRows) + (row % TileRows * BlockDepth) + (k % BlockDepth);

    /// <summary>Where a bf16 panel has a weight: [blocks of 32][2 tiles][16 pairs][16 columns][2].</summary>
    private static int Place(int k, int column) =>
        (k / 32 * 32 * PanelColumns) + (column / 16 * 16 * 32) + (k % 32 / 2 * 32) + (column % 16 * 2) + (k % 2);
}
