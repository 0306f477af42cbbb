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
/// Work is cut into two to eight panels (32 outputs each) times groups of rows: few for many threads, more where these have enough, because each
/// item reads its rows of x once. One row goes by vectors, which read W faster, with the bits of tiles; up to 16 rows stream W past once by tiles, two
/// panels side by side. More take W in pieces of
/// <see cref="BlocksPerPiece"/> depth blocks that stay in the first-level cache while 32 rows after 32 pass over them, x of all the item's rows and
/// the sums in the second.
/// </remarks>
internal sealed unsafe class TileMatMul : ParallelJob, IDisposable
{
    private const int NarrowPanels = 2;
    private const int MaxPanelsPerItem = 8;

    /// <summary>Items for each worker, so that none waits long for another at the end.</summary>
    private const int ItemsPerWorker = 4;

    private const int SquareRows = 2 * TileKernelCode.TileRows;
    private const int RowsPerItem = 256;
    private const int BlockBytes = 2 * PanelLayout.TileBytes;
    private const int BlocksPerPiece = 16;

    /// <summary>How far ahead a stream of weights is asked for.</summary>
    private const int PrefetchBytes = 4096;

    /// <summary>The same beside one row, which asks for more at a time.</summary>
    private const int RowPrefetchBytes = 8192;

    /// <summary>Multiplications below which waking another thread costs more than it brings.</summary>
    private const long SerialLimit = 1 << 18;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly ITileKernels _kernels;
    private readonly TileRows _tiles;
    private readonly bool _rowHasSameBits;
    private CpuWeightMatrix? _weight;
    private Rows _y;
    private int _rows;
    private int _rowGroups;
    private int _rowsPerGroup;
    private int _panelsPerItem;
    private float* _row;

    public TileMatMul(WorkerPool pool, WorkerScratch scratch, ITileKernels kernels)
    {
        _pool = pool;
        _scratch = scratch;
        _kernels = kernels;
        _tiles = new TileRows(pool);
        _rowHasSameBits = TileCheck.RowHasSameBits(kernels);
    }

    public void Run(TensorView x, CpuWeightMatrix weight, TensorView y)
    {
        _weight = weight;
        _y = new Rows(y);
        _rows = x.Rows;

        // Whole tiles of x are read; what stands in rows beyond the last is multiplied and dropped.
        int step = _rows <= TileKernelCode.TileRows ? TileKernelCode.TileRows : SquareRows;
        int padded = (_rows + step - 1) / step * step;
        _row = _rows == 1 && _rowHasSameBits ? _tiles.RunSingle(new Rows(x).At(0), x.Columns) : null;
        if (_row is null)
        {
            _tiles.Run(new Rows(x), x.Rows, x.Columns, padded);
        }

        _rowGroups = (_rows + RowsPerItem - 1) / RowsPerItem;
        _rowsPerGroup = (((_rows + _rowGroups - 1) / _rowGroups) + step - 1) / step * step;
        bool parallel = (long)_rows * weight.Rows * weight.Columns >= SerialLimit;
        _panelsPerItem = _rows <= TileKernelCode.TileRows ? NarrowPanels : MaxPanelsPerItem;
        while (_panelsPerItem > NarrowPanels && ItemCount(weight) < ItemsPerWorker * _pool.WorkerCount)
        {
            _panelsPerItem /= 2;
        }

        _pool.Run(this, ItemCount(weight), parallel);
        _weight = null;
    }

    public void Dispose() => _tiles.Dispose();

    public override void Execute(int item, int worker)
    {
        // Row groups of the same panels follow each other, so that the panels are still in the cache.
        CpuWeightMatrix weight = _weight!;
        int firstPanel = item / _rowGroups * _panelsPerItem;
        int panels = Math.Min(_panelsPerItem, weight.PanelCount - firstPanel);
        int firstRow = item % _rowGroups * _rowsPerGroup;
        int rows = Math.Min(_rowsPerGroup, _rows - firstRow);
        if (rows <= 0)
        {
            return;
        }

        int itemWidth = _panelsPerItem * PanelLayout.Width;
        float* sums = _scratch.Get(worker, (RowsPerItem + SquareRows) * itemWidth);
        DotArguments arguments = new() { XStride = _tiles.Stride, CStride = itemWidth * sizeof(float) };
        int blocks = (weight.Columns + PanelLayout.DepthBlock - 1) / PanelLayout.DepthBlock;
        if (_rows <= TileKernelCode.TileRows)
        {
            // Where the second panel is missing the first stands in, for columns of the result that nobody reads.
            int ahead = _row is null ? PrefetchBytes : RowPrefetchBytes;
            arguments.B0 = weight.Panel(firstPanel);
            arguments.B1 = weight.Panel(firstPanel + panels - 1);
            arguments.Prefetch0 = arguments.B0 + ahead;
            arguments.Prefetch1 = arguments.B1 + ahead;
            arguments.C = sums;
            arguments.Blocks = blocks;
            MultiplyFew(&arguments);
        }
        else
        {
            byte* x = _tiles.Target + (firstRow / TileKernelCode.TileRows * _tiles.Stride);
            _kernels.Begin();
            for (int block = 0; block < blocks; block += BlocksPerPiece)
            {
                arguments.Blocks = Math.Min(BlocksPerPiece, blocks - block);
                arguments.Resume = block > 0 ? 1 : 0;
                for (int panel = 0; panel < panels; panel++)
                {
                    arguments.B0 = weight.Panel(firstPanel + panel) + ((nint)block * BlockBytes);
                    MultiplyRows(&arguments, x + ((nint)block * PanelLayout.TileBytes), sums + (panel * PanelLayout.Width), rows, itemWidth);
                }
            }

            _kernels.End();
        }

        int firstColumn = firstPanel * PanelLayout.Width;
        int width = Math.Min(itemWidth, weight.Rows - firstColumn);
        for (int row = 0; row < rows; row++)
        {
            float* y = _y.At(firstRow + row) + firstColumn;
            new ReadOnlySpan<float>(sums + (row * itemWidth), width).CopyTo(new Span<float>(y, width));
        }
    }

    private int ItemCount(CpuWeightMatrix weight) => (weight.PanelCount + _panelsPerItem - 1) / _panelsPerItem * _rowGroups;

    /// <summary>All of x with two panels.</summary>
    private void MultiplyFew(DotArguments* arguments)
    {
        if (_row is not null)
        {
            arguments->X = (byte*)_row;
            _kernels.Row(arguments);
            return;
        }

        arguments->X = _tiles.Target;
        _kernels.Begin();
        _kernels.Narrow(arguments);
        _kernels.End();
    }

    /// <summary>One piece of a panel for all rows of an item; the first of them ask for what comes next.</summary>
    private void MultiplyRows(DotArguments* arguments, byte* x, float* c, int rows, int itemWidth)
    {
        arguments->Prefetch0 = arguments->B0 + PrefetchBytes;
        for (int row = 0; row < rows; row += SquareRows)
        {
            arguments->X = x + (row / TileKernelCode.TileRows * _tiles.Stride);
            arguments->C = c + (row * itemWidth);
            if (row == 0)
            {
                _kernels.SquareAhead(arguments);
            }
            else
            {
                _kernels.Square(arguments);
            }
        }
    }
}
