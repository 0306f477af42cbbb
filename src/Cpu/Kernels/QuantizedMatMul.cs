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
internal sealed unsafe class QuantizedMatMul<TSimd, TVector> : ParallelJob, IDisposable
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int PanelsPerItem = 2;
    private const int ItemWidth = PanelsPerItem * PanelLayout.Width;
    private const int RowsPerItem = 128;

    /// <summary>Most rows of a tile for few rows.</summary>
    private const int MostFewRows = 16;

    /// <summary>Inputs whose scales are unpacked at once for few rows; a multiple of every block.</summary>
    private const int ScaledDepth = 2048;

    /// <summary>Inputs of an unpacked piece; a multiple of every block.</summary>
    private const int DepthPiece = 256;

    /// <summary>Multiplications below which waking another thread costs more than it brings.</summary>
    private const long SerialLimit = 1 << 18;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly InterleaveRows _interleave;
    private CpuWeightMatrix? _weight;
    private QuantizedPanels? _panels;
    private Rows _x;
    private Rows _y;
    private int _rows;
    private int _rowGroups;
    private int _blockRows;
    private float* _interleaved;

    public QuantizedMatMul(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
        _interleave = new InterleaveRows(pool);
    }

    public void Dispose() => _interleave.Dispose();

    public void Run(TensorView x, CpuWeightMatrix weight, QuantizedPanels panels, TensorView y)
    {
        _weight = weight;
        _panels = panels;
        _x = new Rows(x);
        _y = new Rows(y);
        _rows = x.Rows;
        _rowGroups = (_rows + RowsPerItem - 1) / RowsPerItem;

        // Few rows are one block or two, with zeros where there are fewer than a block takes; 0 for many.
        _blockRows = _rows <= 2 ? _rows : _rows <= 4 ? 4 : _rows <= 2 * TSimd.MaxRows ? TSimd.MaxRows : 0;
        _interleaved = _blockRows > 1 ? _interleave.Run(_x, _rows, weight.Columns, _blockRows) : null;
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

        // Padding columns and rows must not reach y: those results go to a tile first.
        if (_blockRows > 0)
        {
            float* tile = _scratch.Get(worker, (MostFewRows * ItemWidth) + (ScaledDepth * ItemWidth / IQuantizedCodes.StepDepth));
            MultiplyFew(firstPanel, rows, tile, tile + (MostFewRows * ItemWidth));
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

    private void MultiplyFew(int firstPanel, int rows, float* tile, float* scales)
    {
        if (_weight!.Format == WeightFormat.Int8)
        {
            MultiplyFew<Int8Codes>(firstPanel, rows, tile, scales);
        }
        else
        {
            MultiplyFew<NF4Codes>(firstPanel, rows, tile, scales);
        }
    }

    private void MultiplyFew<TCodes>(int firstPanel, int rows, float* tile, float* scales)
        where TCodes : struct, IQuantizedCodes
    {
        CpuWeightMatrix weight = _weight!;
        QuantizedPanels panels = _panels!;
        int panelCount = Math.Min(PanelsPerItem, weight.PanelCount - firstPanel);
        for (int k = 0; k < weight.Columns; k += ScaledDepth)
        {
            int depth = Math.Min(ScaledDepth, weight.Columns - k);
            int firstBlock = k / TCodes.BlockDepth;
            int blocks = (depth + TCodes.BlockDepth - 1) / TCodes.BlockDepth;
            int panelScales = blocks * PanelLayout.Width;
            for (int panel = 0; panel < panelCount; panel++)
            {
                panels.ReadScales(weight.Panel(firstPanel + panel), firstBlock, blocks, scales + (panel * panelScales));
            }

            // Where the second panel is missing the first stands in, for tile columns unread.
            float* x = _interleaved is null ? _x.At(0) + k : _interleaved + ((nint)k * _blockRows);
            int step = (_blockRows == 1 ? 4 : 2) * TSimd.Count;
            for (int column = 0; column < panelCount * PanelLayout.Width; column += step)
            {
                int panel = column / PanelLayout.Width;
                int last = Math.Min((column + (step / 2)) / PanelLayout.Width, panelCount - 1);
                byte* b = Codes<TCodes>(weight, firstPanel + panel, firstBlock, column);
                float* s = scales + (panel * panelScales) + (column % PanelLayout.Width);
                int second = column + (step / 2);
                byte* b2 = Codes<TCodes>(weight, firstPanel + last, firstBlock, second);
                float* s2 = scales + (last * panelScales) + (second % PanelLayout.Width);
                for (int row = 0; row < rows; row += _blockRows)
                {
                    // A second block finds the codes in the first-level cache.
                    float* block = x + ((nint)row * weight.Columns);
                    Multiply<TCodes>(block, b, b2, s, s2, depth, tile + (row * ItemWidth) + column, k > 0);
                }
            }
        }
    }

    private void Multiply<TCodes>(float* x, byte* b, byte* b2, float* s, float* s2, int depth, float* c, bool resume)
        where TCodes : struct, IQuantizedCodes
    {
        switch (_blockRows)
        {
            case 1:
                QuantizedKernel<TSimd, TVector, TCodes>.Rows1(x, b, b2, s, s2, depth, c, resume);
                break;
            case 2:
                QuantizedKernel<TSimd, TVector, TCodes>.Interleaved2(x, b, s, depth, c, ItemWidth, resume);
                break;
            case 4:
                QuantizedKernel<TSimd, TVector, TCodes>.Interleaved4(x, b, s, depth, c, ItemWidth, resume);
                break;
            default:
                QuantizedKernel<TSimd, TVector, TCodes>.Interleaved8(x, b, s, depth, c, ItemWidth, resume);
                break;
        }
    }

    private static byte* Codes<TCodes>(CpuWeightMatrix weight, int panel, int firstBlock, int column)
        where TCodes : struct, IQuantizedCodes =>
        weight.Panel(panel) + ((nint)firstBlock * (QuantizedPanels.BlockBytes + TCodes.GapBytes)) + (column % PanelLayout.Width * TCodes.ColumnBytes);

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
                Unpack(panels, source, k, depth, scales, scratch);
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

    private static void Unpack(QuantizedPanels panels, byte* source, int k, int depth, float* scales, float* target)
    {
        int firstBlock = k / panels.BlockDepth;
        int blocks = (depth + panels.BlockDepth - 1) / panels.BlockDepth;
        panels.ReadScales(source, firstBlock, blocks, scales);
        for (int block = 0; block < blocks; block++)
        {
            int done = block * panels.BlockDepth;
            panels.Unpack(
                source + ((nint)(firstBlock + block) * panels.BlockStride),
                scales + (block * PanelLayout.Width),
                Math.Min(panels.BlockDepth, depth - done),
                target + (done * PanelLayout.Width));
        }
    }
}
