using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// <c>y = x W^T</c> with bf16 W by <see cref="TileKernelCode"/>: x is rounded to bf16 first; every element is an f32 sum over depth blocks of
/// 32 inputs, in their order, however many rows there are.
/// </summary>
/// <remarks>
/// Work is cut into pairs of panels (64 outputs) times groups of rows. Up to 16 rows stream W past once, both panels side by side. More take
/// W in pieces of <see cref="BlocksPerPiece"/> depth blocks that stay in the first-level cache while 32 rows after 32 pass over them.
/// </remarks>
internal sealed unsafe class TileMatMul : ParallelJob, IDisposable
{
    private const int PanelsPerItem = 2;
    private const int ItemWidth = PanelsPerItem * PanelLayout.Width;
    private const int SquareRows = 2 * TileKernelCode.TileRows;
    private const int RowsPerItem = 256;
    private const int BlockBytes = 2 * PanelLayout.TileBytes;
    private const int BlocksPerPiece = 16;

    /// <summary>How far ahead a stream of weights is asked for.</summary>
    private const int PrefetchBytes = 4096;

    /// <summary>Multiplications below which waking another thread costs more than it brings.</summary>
    private const long SerialLimit = 1 << 18;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly ITileKernels _kernels;
    private readonly NarrowRows _narrow;
    private CpuWeightMatrix? _weight;
    private Rows _y;
    private int _rows;
    private int _rowGroups;
    private int _rowsPerGroup;

    public TileMatMul(WorkerPool pool, WorkerScratch scratch, ITileKernels kernels)
    {
        _pool = pool;
        _scratch = scratch;
        _kernels = kernels;
        _narrow = new NarrowRows(pool);
    }

    public void Run(TensorView x, CpuWeightMatrix weight, TensorView y)
    {
        _weight = weight;
        _y = new Rows(y);
        _rows = x.Rows;

        // Whole tiles of x are read; what stands in rows beyond the last is multiplied and dropped.
        int step = _rows <= TileKernelCode.TileRows ? TileKernelCode.TileRows : SquareRows;
        int padded = (_rows + step - 1) / step * step;
        _narrow.Run(new Rows(x), x.Rows, x.Columns, padded);
        _rowGroups = (_rows + RowsPerItem - 1) / RowsPerItem;
        _rowsPerGroup = (((_rows + _rowGroups - 1) / _rowGroups) + step - 1) / step * step;
        int panelPairs = (weight.PanelCount + PanelsPerItem - 1) / PanelsPerItem;
        bool parallel = (long)_rows * weight.Rows * weight.Columns >= SerialLimit;
        _pool.Run(this, panelPairs * _rowGroups, parallel);
        _weight = null;
    }

    public void Dispose() => _narrow.Dispose();

    public override void Execute(int item, int worker)
    {
        // Row groups of the same panels follow each other, so that the panels are still in the cache.
        CpuWeightMatrix weight = _weight!;
        int firstPanel = item / _rowGroups * PanelsPerItem;
        int firstRow = item % _rowGroups * _rowsPerGroup;
        int rows = Math.Min(_rowsPerGroup, _rows - firstRow);
        if (rows <= 0)
        {
            return;
        }

        float* tile = _scratch.Get(worker, (RowsPerItem + SquareRows) * ItemWidth);
        DotArguments arguments = new() { XStride = _narrow.Stride * sizeof(ushort), CStride = ItemWidth * sizeof(float) };
        byte* b0 = weight.Panel(firstPanel);
        byte* b1 = weight.Panel(Math.Min(firstPanel + 1, weight.PanelCount - 1));
        int blocks = (weight.Columns + PanelLayout.DepthBlock - 1) / PanelLayout.DepthBlock;
        ushort* x = _narrow.Target + (firstRow * _narrow.Stride);
        _kernels.Begin();
        if (_rows <= TileKernelCode.TileRows)
        {
            arguments.X = (byte*)x;
            arguments.B0 = b0;
            arguments.B1 = b1;
            arguments.Prefetch0 = b0 + PrefetchBytes;
            arguments.Prefetch1 = b1 + PrefetchBytes;
            arguments.C = tile;
            arguments.Blocks = blocks;
            _kernels.Narrow(&arguments);
        }
        else
        {
            for (int block = 0; block < blocks; block += BlocksPerPiece)
            {
                arguments.Blocks = Math.Min(BlocksPerPiece, blocks - block);
                arguments.Resume = block > 0 ? 1 : 0;
                arguments.B0 = b0 + ((nint)block * BlockBytes);
                MultiplyRows(&arguments, x + (block * PanelLayout.DepthBlock), tile, rows);
                arguments.B0 = b1 + ((nint)block * BlockBytes);
                MultiplyRows(&arguments, x + (block * PanelLayout.DepthBlock), tile + PanelLayout.Width, rows);
            }
        }

        _kernels.End();
        int firstColumn = firstPanel * PanelLayout.Width;
        int width = Math.Min(ItemWidth, weight.Rows - firstColumn);
        for (int row = 0; row < rows; row++)
        {
            float* y = _y.At(firstRow + row) + firstColumn;
            new ReadOnlySpan<float>(tile + (row * ItemWidth), width).CopyTo(new Span<float>(y, width));
        }
    }

    /// <summary>One piece of a panel for all rows of an item.</summary>
    private void MultiplyRows(DotArguments* arguments, ushort* x, float* c, int rows)
    {
        for (int row = 0; row < rows; row += SquareRows)
        {
            arguments->X = (byte*)(x + (row * _narrow.Stride));
            arguments->C = c + (row * ItemWidth);
            _kernels.Square(arguments);
        }
    }
}
