using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Kernels;

/// <summary><c>y = x W^T</c> with quantised W; every element is one f32 sum in the order of the inputs, over the weights as they unpack.</summary>
/// <remarks>
/// Work is cut into pairs of panels (64 outputs) times groups of rows. A few rows are multiplied by weights that unpack in registers. For
/// many, a piece of a panel is unpacked into the scratch memory, where it stays in the first-level cache while all rows of the group pass
/// over it; the sums rest in y between the pieces. Both give the same bits.
/// </remarks>
internal sealed unsafe class QuantizedMatMul<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int PanelsPerItem = 2;
    private const int ItemWidth = PanelsPerItem * PanelLayout.Width;
    private const int RowsPerItem = 128;

    /// <summary>Rows up to which unpacking in registers is less work than unpacking to memory.</summary>
    private const int FewRows = 4;

    /// <summary>Inputs whose scales are unpacked at once for few rows; a multiple of every block.</summary>
    private const int ScaledDepth = 1024;

    /// <summary>Inputs of an unpacked piece; a multiple of every block.</summary>
    private const int DepthPiece = 256;

    /// <summary>Multiplications below which waking another thread costs more than it brings.</summary>
    private const long SerialLimit = 1 << 18;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private CpuWeightMatrix? _weight;
    private QuantizedPanels? _panels;
    private Rows _x;
    private Rows _y;
    private int _rows;
    private int _rowGroups;

    public QuantizedMatMul(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    public void Run(TensorView x, CpuWeightMatrix weight, QuantizedPanels panels, TensorView y)
    {
        _weight = weight;
        _panels = panels;
        _x = new Rows(x);
        _y = new Rows(y);
        _rows = x.Rows;
        _rowGroups = (_rows + RowsPerItem - 1) / RowsPerItem;
        int panelPairs = (weight.PanelCount + PanelsPerItem - 1) / PanelsPerItem;
        bool parallel = (long)_rows * weight.Rows * weight.Columns >= SerialLimit;
        _pool.Run(this, panelPairs * _rowGroups, parallel);
        _weight = null;
        _panels = null;
    }

    public override void Execute(int item, int worker)
    {
        // Row groups of the same panels follow each other, so that the panels are still in the cache.
        CpuWeightMatrix weight = _weight!;
        int firstPanel = item / _rowGroups * PanelsPerItem;
        int firstRow = item % _rowGroups * RowsPerItem;
        int rows = Math.Min(RowsPerItem, _rows - firstRow);
        int firstColumn = firstPanel * PanelLayout.Width;
        int width = Math.Min(ItemWidth, weight.Rows - firstColumn);
        float* y = _y.At(firstRow) + firstColumn;

        // Padding columns must not reach y, nor the fourth row where there are three: those results go to a tile first.
        if (rows <= FewRows)
        {
            float* tile = _scratch.Get(worker, (FewRows * ItemWidth) + (ScaledDepth * ItemWidth / IQuantizedCodes.StepDepth));
            MultiplyFew(firstPanel, firstRow, rows, tile, tile + (FewRows * ItemWidth));
            CopyRows(tile, y, rows, width);
        }
        else
        {
            const int PieceFloats = DepthPiece * PanelLayout.Width;
            float* scratch = _scratch.Get(worker, (RowsPerItem * ItemWidth) + PieceFloats + (PieceFloats / IQuantizedCodes.StepDepth));
            float* tile = scratch + PieceFloats + (PieceFloats / IQuantizedCodes.StepDepth);
            bool direct = width == ItemWidth;
            MultiplyMany(firstPanel, firstRow, rows, direct ? y : tile, direct ? _y.Stride : ItemWidth, scratch);
            if (!direct)
            {
                CopyRows(tile, y, rows, width);
            }
        }
    }

    private void CopyRows(float* tile, float* y, int rows, int width)
    {
        for (int row = 0; row < rows; row++)
        {
            new ReadOnlySpan<float>(tile + (row * ItemWidth), width).CopyTo(new Span<float>(y + (row * _y.Stride), width));
        }
    }

    private void MultiplyFew(int firstPanel, int firstRow, int rows, float* tile, float* scales)
    {
        if (_weight!.Format == WeightFormat.Int8)
        {
            MultiplyFew<Int8Codes>(firstPanel, firstRow, rows, tile, scales);
        }
        else
        {
            MultiplyFew<NF4Codes>(firstPanel, firstRow, rows, tile, scales);
        }
    }

    private void MultiplyFew<TCodes>(int firstPanel, int firstRow, int rows, float* tile, float* scales)
        where TCodes : struct, IQuantizedCodes
    {
        CpuWeightMatrix weight = _weight!;
        QuantizedPanels panels = _panels!;
        int panelCount = Math.Min(PanelsPerItem, weight.PanelCount - firstPanel);
        int vectors = rows == 1 ? 4 : 2;
        for (int k = 0; k < weight.Columns; k += ScaledDepth)
        {
            int depth = Math.Min(ScaledDepth, weight.Columns - k);
            int firstBlock = k / TCodes.BlockDepth;
            int blocks = (depth + TCodes.BlockDepth - 1) / TCodes.BlockDepth;
            for (int panel = 0; panel < panelCount; panel++)
            {
                panels.ReadScales(
                    firstPanel + panel, weight.Panel(firstPanel + panel), firstBlock, blocks, scales + (panel * blocks * PanelLayout.Width));
            }

            for (int column = 0; column < panelCount * PanelLayout.Width; column += vectors * TSimd.Count)
            {
                Vectors v = new(weight, firstPanel, panelCount, firstBlock, blocks, scales);
                float* x = _x.At(firstRow) + k;
                float* c = tile + column;
                float* c1 = c + TSimd.Count;
                byte* b0 = v.Codes<TCodes>(column);
                byte* b1 = v.Codes<TCodes>(column + TSimd.Count);
                float* s0 = v.Scales(column);
                float* s1 = v.Scales(column + TSimd.Count);
                if (rows == 1)
                {
                    int third = column + (2 * TSimd.Count);
                    int fourth = third + TSimd.Count;
                    QuantizedKernel<TSimd, TVector, TCodes>.Rows1(
                        x,
                        b0,
                        b1,
                        v.Codes<TCodes>(third),
                        v.Codes<TCodes>(fourth),
                        s0,
                        s1,
                        v.Scales(third),
                        v.Scales(fourth),
                        depth,
                        c,
                        c1,
                        tile + third,
                        tile + fourth,
                        k > 0);
                }
                else if (rows == 2)
                {
                    QuantizedKernel<TSimd, TVector, TCodes>.Rows2(x, _x.Stride, b0, b1, s0, s1, depth, c, c1, ItemWidth, k > 0);
                }
                else
                {
                    // Without a fourth row the third stands in, for a row of the tile that nobody reads.
                    float* last = _x.At(firstRow + rows - 1) + k;
                    QuantizedKernel<TSimd, TVector, TCodes>.Rows4(x, _x.Stride, last, b0, b1, s0, s1, depth, c, c1, ItemWidth, k > 0);
                }
            }
        }
    }

    private void MultiplyMany(int firstPanel, int firstRow, int rows, float* target, nint targetStride, float* scratch)
    {
        CpuWeightMatrix weight = _weight!;
        QuantizedPanels panels = _panels!;
        float* scales = scratch + (DepthPiece * PanelLayout.Width);
        int panelCount = Math.Min(PanelsPerItem, weight.PanelCount - firstPanel);
        for (int panel = 0; panel < panelCount; panel++)
        {
            byte* source = weight.Panel(firstPanel + panel);
            float* c = target + (panel * PanelLayout.Width);
            for (int k = 0; k < weight.Columns; k += DepthPiece)
            {
                int depth = Math.Min(DepthPiece, weight.Columns - k);
                Unpack(panels, firstPanel + panel, source, k, depth, scales, scratch);
                PanelMode mode = k == 0 ? PanelMode.Overwrite : PanelMode.Resume;
                for (int column = 0; column < PanelLayout.Width; column += 2 * TSimd.Count)
                {
                    byte* b = (byte*)(scratch + column);
                    PanelKernel<TSimd, TVector, F32Element>.Multiply(
                        rows,
                        _x.At(firstRow) + k,
                        _x.Stride,
                        b,
                        b + (TSimd.Count * sizeof(float)),
                        PanelLayout.Width * sizeof(float),
                        depth,
                        c + column,
                        c + column + TSimd.Count,
                        targetStride,
                        mode);
                }
            }
        }
    }

    private static void Unpack(QuantizedPanels panels, int panel, byte* source, int k, int depth, float* scales, float* target)
    {
        int firstBlock = k / panels.BlockDepth;
        int blocks = (depth + panels.BlockDepth - 1) / panels.BlockDepth;
        panels.ReadScales(panel, source, firstBlock, blocks, scales);
        for (int block = 0; block < blocks; block++)
        {
            int done = block * panels.BlockDepth;
            panels.Unpack(
                source + ((nint)(firstBlock + block) * QuantizedPanels.BlockBytes),
                scales + (block * PanelLayout.Width),
                Math.Min(panels.BlockDepth, depth - done),
                target + (done * PanelLayout.Width));
        }
    }

    /// <summary>Where the codes and scales of the pair's columns are; a column of a missing panel is read from the last.</summary>
    private readonly struct Vectors(CpuWeightMatrix weight, int firstPanel, int panelCount, int firstBlock, int blocks, float* scales)
    {
        public byte* Codes<TCodes>(int column)
            where TCodes : struct, IQuantizedCodes
        {
            byte* panel = weight.Panel(firstPanel + Panel(column));
            return panel + ((nint)firstBlock * QuantizedPanels.BlockBytes) + (column % PanelLayout.Width * TCodes.ColumnBytes);
        }

        public float* Scales(int column) => scales + (Panel(column) * blocks * PanelLayout.Width) + (column % PanelLayout.Width);

        private int Panel(int column) => Math.Min(column / PanelLayout.Width, panelCount - 1);
    }
}
