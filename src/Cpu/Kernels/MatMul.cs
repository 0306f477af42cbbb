using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Kernels;

/// <summary><c>y = x W^T</c> with W in panels; every element is one f32 sum in the order of the inputs.</summary>
/// <remarks>
/// Work is cut into pairs of panels (64 outputs) times groups of rows. With few rows the time is that of reading W once, so each panel is
/// read once for all of them. With many, W is taken in pieces of <see cref="DepthPiece"/> inputs, small enough to stay in the first-level
/// caches while all rows of the group pass over it; the sums rest in y between the pieces, which changes no bit.
/// </remarks>
internal sealed unsafe class MatMul<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int PanelsPerItem = 2;
    private const int RowsPerItem = 64;
    private const int DepthPiece = 512;

    /// <summary>Multiplications below which waking another thread costs more than it brings.</summary>
    private const long SerialLimit = 1 << 18;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private CpuWeightMatrix? _weight;
    private float* _x;
    private float* _y;
    private nint _xStride;
    private nint _yStride;
    private int _rows;
    private int _rowGroups;

    public MatMul(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    public void Run(TensorView x, CpuWeightMatrix weight, TensorView y)
    {
        _weight = weight;
        _x = CpuBuffer.PointerOf(x);
        _y = CpuBuffer.PointerOf(y);
        _xStride = x.RowStride;
        _yStride = y.RowStride;
        _rows = x.Rows;
        _rowGroups = (_rows + RowsPerItem - 1) / RowsPerItem;
        int panelPairs = (weight.PanelCount + PanelsPerItem - 1) / PanelsPerItem;
        bool parallel = (long)_rows * weight.Rows * weight.Columns >= SerialLimit;
        _pool.Run(this, panelPairs * _rowGroups, parallel);
        _weight = null;
    }

    public override void Execute(int item, int worker)
    {
        // Row groups of the same panels follow each other, so that the panels are still in the cache.
        CpuWeightMatrix weight = _weight!;
        int firstPanel = item / _rowGroups * PanelsPerItem;
        int firstRow = item % _rowGroups * RowsPerItem;
        int rows = Math.Min(RowsPerItem, _rows - firstRow);
        float* x = _x + (firstRow * _xStride);
        float* y = _y + (firstRow * _yStride);
        if (rows == 1 && weight.Format == WeightFormat.BF16 && (firstPanel + PanelsPerItem) * PanelLayout.Width <= weight.Rows)
        {
            MultiplyRow(weight, firstPanel, x, y);
            return;
        }

        for (int panel = firstPanel; panel < Math.Min(firstPanel + PanelsPerItem, weight.PanelCount); panel++)
        {
            int column = panel * PanelLayout.Width;
            int width = Math.Min(PanelLayout.Width, weight.Rows - column);
            if (width == PanelLayout.Width)
            {
                MultiplyPanel(weight, panel, rows, x, y + column, _yStride);
            }
            else
            {
                // The padding columns of the last panel must not reach y.
                float* tile = _scratch.Get(worker, RowsPerItem * PanelLayout.Width);
                MultiplyPanel(weight, panel, rows, x, tile, PanelLayout.Width);
                for (int row = 0; row < rows; row++)
                {
                    new ReadOnlySpan<float>(tile + (row * PanelLayout.Width), width).CopyTo(new Span<float>(y + (row * _yStride) + column, width));
                }
            }
        }
    }

    /// <summary>One row times two whole bf16 panels, four vectors of columns at a time.</summary>
    private static void MultiplyRow(CpuWeightMatrix weight, int firstPanel, float* x, float* y)
    {
        for (int column = 0; column < PanelsPerItem * PanelLayout.Width; column += 4 * TSimd.Count)
        {
            float* c = y + (firstPanel * PanelLayout.Width) + column;
            PairPanelKernel<TSimd, TVector>.Rows1Quad(
                x,
                Column(weight, firstPanel, column),
                Column(weight, firstPanel, column + TSimd.Count),
                Column(weight, firstPanel, column + (2 * TSimd.Count)),
                Column(weight, firstPanel, column + (3 * TSimd.Count)),
                weight.Columns,
                c,
                c + TSimd.Count,
                c + (2 * TSimd.Count),
                c + (3 * TSimd.Count),
                PanelMode.Overwrite);
        }
    }

    private static byte* Column(CpuWeightMatrix weight, int firstPanel, int column) =>
        weight.Panel(firstPanel + (column / PanelLayout.Width)) + PanelLayout.BF16ColumnOffset(column % PanelLayout.Width);

    private void MultiplyPanel(CpuWeightMatrix weight, int panel, int rows, float* x, float* y, nint yStride)
    {
        byte* weights = weight.Panel(panel);
        int piece = rows <= TSimd.MaxRows ? weight.Columns : DepthPiece;
        for (int k = 0; k < weight.Columns; k += piece)
        {
            int depth = Math.Min(piece, weight.Columns - k);
            PanelMode mode = k == 0 ? PanelMode.Overwrite : PanelMode.Resume;
            for (int column = 0; column < PanelLayout.Width; column += 2 * TSimd.Count)
            {
                float* c0 = y + column;
                float* c1 = c0 + TSimd.Count;
                if (weight.Format == WeightFormat.F32)
                {
                    byte* b = weights + ((((nint)k * PanelLayout.Width) + column) * sizeof(float));
                    PanelKernel<TSimd, TVector, F32Element>.Multiply(
                        rows, x + k, _xStride, b, b + (TSimd.Count * sizeof(float)), PanelLayout.Width * sizeof(float), depth, c0, c1, yStride, mode);
                }
                else
                {
                    // k is a multiple of the depth block, of which a panel has two tiles.
                    byte* block = weights + ((nint)(k / PanelLayout.DepthBlock) * 2 * PanelLayout.TileBytes);
                    PairPanelKernel<TSimd, TVector>.Multiply(
                        rows,
                        x + k,
                        _xStride,
                        block + PanelLayout.BF16ColumnOffset(column),
                        block + PanelLayout.BF16ColumnOffset(column + TSimd.Count),
                        depth,
                        c0,
                        c1,
                        yStride,
                        mode);
                }
            }
        }
    }
}
