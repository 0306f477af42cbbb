using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// <c>y = x W^T</c> with bf16 W by <see cref="BFloat16DotKernels"/>: x is rounded to bf16 first, and every element is one f32 sum in the
/// order of the inputs' pairs.
/// </summary>
/// <remarks>
/// Work is cut into pairs of panels (64 outputs) times groups of rows. A few rows stream W past once. More take it in pieces that stay in
/// the first-level cache while blocks of six rows pass over them, each block asking for a share of the next piece meanwhile, so that memory
/// is read while products are formed.
/// </remarks>
internal sealed unsafe class DotMatMul : ParallelJob, IDisposable
{
    private const int PanelsPerItem = 2;
    private const int ItemWidth = PanelsPerItem * PanelLayout.Width;
    private const int RowsPerItem = 96;
    private const int BlockBytes = 2 * PanelLayout.TileBytes;

    /// <summary>Depth blocks of a piece.</summary>
    private const int BlocksPerPiece = 4;

    /// <summary>Lines that all blocks of rows together ask for while they take a pair of inputs.</summary>
    private const int MaxLines = 4;

    /// <summary>How far ahead a stream of weights is asked for.</summary>
    private const int PrefetchBytes = 4096;

    /// <summary>Multiplications below which waking another thread costs more than it brings.</summary>
    private const long SerialLimit = 1 << 18;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly nint[] _kernels;
    private readonly NarrowRows _narrow;
    private CpuWeightMatrix? _weight;
    private Rows _y;
    private int _rows;
    private int _rowGroups;
    private int _rowsPerGroup;

    /// <param name="pool">Threads.</param>
    /// <param name="scratch">Their scratch memory.</param>
    /// <param name="kernels">Entries of <see cref="BFloat16DotKernels.Assemblers"/>.</param>
    public DotMatMul(WorkerPool pool, WorkerScratch scratch, nint[] kernels)
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
        _narrow.Run(new Rows(x), x.Rows, x.Columns, x.Rows);
        _rowGroups = (_rows + RowsPerItem - 1) / RowsPerItem;
        _rowsPerGroup = (_rows + _rowGroups - 1) / _rowGroups;
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
        int firstColumn = firstPanel * PanelLayout.Width;
        int width = Math.Min(ItemWidth, weight.Rows - firstColumn);
        float* y = _y.At(firstRow) + firstColumn;

        // Padding columns must not reach y, and sums that rest between pieces had better rest close together.
        bool few = rows <= BFloat16DotKernels.MaxRows;
        bool direct = few && width == ItemWidth;
        float* tile = _scratch.Get(worker, RowsPerItem * ItemWidth);
        DotArguments arguments = new()
        {
            XStride = _narrow.Stride * sizeof(ushort),
            CStride = (direct ? _y.Stride : ItemWidth) * sizeof(float),
        };
        byte* b0 = weight.Panel(firstPanel);
        byte* b1 = weight.Panel(Math.Min(firstPanel + 1, weight.PanelCount - 1));
        int blocks = (weight.Columns + PanelLayout.DepthBlock - 1) / PanelLayout.DepthBlock;
        int step = few ? blocks : BlocksPerPiece;
        for (int block = 0; block < blocks; block += step)
        {
            arguments.B0 = b0 + ((nint)block * BlockBytes);
            arguments.B1 = b1 + ((nint)block * BlockBytes);
            arguments.Blocks = Math.Min(step, blocks - block);
            arguments.Resume = block > 0 ? 1 : 0;
            ushort* x = _narrow.Target + (firstRow * _narrow.Stride) + (block * PanelLayout.DepthBlock);
            bool last = block + step >= blocks;
            if (few)
            {
                arguments.Prefetch0 = arguments.B0 + PrefetchBytes;
                arguments.Prefetch1 = arguments.B1 + PrefetchBytes;
            }
            else if (!last)
            {
                arguments.Prefetch0 = arguments.B0 + (step * BlockBytes);
                arguments.Prefetch1 = arguments.B1 + (step * BlockBytes);
            }
            else
            {
                // Where workers take turns, this one comes there next.
                int next = Math.Min((item + _pool.WorkerCount) / _rowGroups * PanelsPerItem, weight.PanelCount - 1);
                arguments.Prefetch0 = weight.Panel(next);
                arguments.Prefetch1 = weight.Panel(Math.Min(next + 1, weight.PanelCount - 1));
            }

            MultiplyRows(&arguments, x, direct ? y : tile, rows, last && !direct ? y : null, width);
        }
    }

    /// <summary>
    /// One piece of the weights for all rows of an item, in blocks of rows of nearly equal size, which share the asking for the next piece; after
    /// the last the sums go to y.
    /// </summary>
    private void MultiplyRows(DotArguments* arguments, ushort* x, float* c, int rows, float* y, int width)
    {
        int rowBlocks = (rows + BFloat16DotKernels.MaxRows - 1) / BFloat16DotKernels.MaxRows;

        // All blocks ask for as much, so that memory has work all the time: four of them, not three of which one asks for nothing.
        rowBlocks = rowBlocks > 2 ? Math.Max(rowBlocks, MaxLines) : rowBlocks;
        int lines = MaxLines / Math.Min(rowBlocks, MaxLines);
        byte* prefetch0 = arguments->Prefetch0;
        byte* prefetch1 = arguments->Prefetch1;
        nint share = arguments->Blocks * BlockBytes * lines / MaxLines;
        int row = 0;
        for (int i = 0; i < rowBlocks; i++)
        {
            int count = (rows - row + rowBlocks - i - 1) / (rowBlocks - i);
            arguments->X = (byte*)(x + (row * _narrow.Stride));
            arguments->C = (float*)((byte*)c + (row * arguments->CStride));
            arguments->Prefetch0 = prefetch0 + (i * share);
            arguments->Prefetch1 = prefetch1 + (i * share);
            if (y is not null)
            {
                AskForRows(y + (row * _y.Stride), count);
            }

            EmittedKernels.Run(_kernels[BFloat16DotKernels.Index(count, i < MaxLines ? lines : 0)], arguments);
            for (int copied = row; y is not null && copied < row + count; copied++)
            {
                new ReadOnlySpan<float>(c + (copied * ItemWidth), width).CopyTo(new Span<float>(y + (copied * _y.Stride), width));
            }

            row += count;
        }
    }

    private void AskForRows(float* y, int rows)
    {
        for (int row = 0; row < rows; row++)
        {
            for (int i = 0; i < ItemWidth; i += KernelParts.VectorBytes / sizeof(float))
            {
                SoftwarePrefetch.At(y + (row * _y.Stride) + i);
            }
        }
    }
}
