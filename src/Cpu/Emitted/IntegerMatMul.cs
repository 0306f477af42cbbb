using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// <c>y = x W^T</c> with quantised W by <see cref="IntegerDotKernels"/>: x becomes 16-bit integers first; each depth block of 32 inputs is
/// summed exactly, the blocks in f32 in their order.
/// </summary>
/// <remarks>
/// Work is cut into pairs of panels (64 outputs) times groups of rows. A few rows stream the codes past once. More take them in pieces that
/// stay in the first-level cache while blocks of six rows pass over them, the first of which asks for the next piece.
/// </remarks>
internal sealed unsafe class IntegerMatMul : ParallelJob, IDisposable
{
    private const int PanelsPerItem = 2;
    private const int ItemWidth = IntegerDotKernels.ResultStride;
    private const int RowsPerItem = 96;

    /// <summary>Inputs of a piece for more rows.</summary>
    private const int PieceDepth = 256;

    /// <summary>How far ahead a stream of codes is asked for.</summary>
    private const int PrefetchBytes = 4096;

    /// <summary>Rows up to which dot products are enough: the time is that of reading weights.</summary>
    private const int MostDotRows = 16;

    private const int TileFloats = RowsPerItem * ItemWidth;

    /// <summary>Multiplications below which waking another thread costs more than it brings.</summary>
    private const long SerialLimit = 1 << 18;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly nint[] _kernels;
    private readonly ITileKernels? _tiles;
    private readonly QuantizeRows _quantize;
    private readonly SplitRows _split;
    private CpuWeightMatrix? _weight;
    private QuantizedPanels? _panels;
    private Rows _y;
    private int _rows;
    private int _rowGroups;
    private int _rowsPerGroup;
    private bool _usesTiles;

    /// <param name="pool">Threads.</param>
    /// <param name="scratch">Their scratch memory.</param>
    /// <param name="kernels">Entries of <see cref="IntegerDotKernels.Assemblers"/>.</param>
    /// <param name="tiles">For many rows; null for none.</param>
    public IntegerMatMul(WorkerPool pool, WorkerScratch scratch, nint[] kernels, ITileKernels? tiles)
    {
        _tiles = tiles;
        _split = new SplitRows(pool);
        _pool = pool;
        _scratch = scratch;
        _kernels = kernels;
        _quantize = new QuantizeRows(pool);
    }

    public void Run(TensorView x, CpuWeightMatrix weight, QuantizedPanels panels, TensorView y)
    {
        _weight = weight;
        _panels = panels;
        _y = new Rows(y);
        _rows = x.Rows;
        // Whole tiles of rows are read, from any row on.
        int room = _rows + IntegerTileCode.Rows;
        _quantize.Run(
            new Rows(x), _rows, x.Columns, panels.BlockDepth, IntegerWeights.Unit(weight.Format), IntegerWeights.Order(weight.Format));
        _usesTiles = _tiles is not null && _rows > MostDotRows;
        if (_usesTiles)
        {
            _split.Run(_quantize, _rows, room, IntegerTiles.Order(weight.Format));
        }

        _rowGroups = (_rows + RowsPerItem - 1) / RowsPerItem;
        _rowsPerGroup = (_rows + _rowGroups - 1) / _rowGroups;
        int panelPairs = (weight.PanelCount + PanelsPerItem - 1) / PanelsPerItem;
        bool parallel = (long)_rows * weight.Rows * weight.Columns >= SerialLimit;
        _pool.Run(this, panelPairs * _rowGroups, parallel);
        _weight = null;
        _panels = null;
    }

    public void Dispose()
    {
        _quantize.Dispose();
        _split.Dispose();
    }

    public override void Execute(int item, int worker)
    {
        // Row groups of the same panels follow each other, so that the panels are still in the cache.
        CpuWeightMatrix weight = _weight!;
        int firstPanel = item / _rowGroups * PanelsPerItem;
        int firstRow = item % _rowGroups * _rowsPerGroup;
        int rows = Math.Min(_rowsPerGroup, _rows - firstRow);
        int groupsPerPiece = PieceDepth / QuantizeRows.GroupSize;
        float* tile = _scratch.Get(worker, TileFloats + IntegerTiles.ScratchFloats(groupsPerPiece));
        DotArguments arguments = new()
        {
            XStride = _quantize.Stride * sizeof(short),
            XScaleStride = _quantize.ScaleStride * sizeof(float),
            CStride = ItemWidth * sizeof(float),
            Values = IntegerWeights.Values,
        };
        // Where the second panel is missing the first stands in, for columns of the tile that nobody reads.
        bool few = rows <= IntegerDotKernels.MaxRows;
        int piece = few ? _panels!.BlockCount : PieceDepth / _panels!.BlockDepth;
        int secondPanel = Math.Min(firstPanel + 1, weight.PanelCount - 1);
        for (int block = 0; block < _panels.BlockCount; block += piece)
        {
            arguments.Blocks = Math.Min(piece, _panels.BlockCount - block);
            arguments.Resume = block > 0 ? 1 : 0;
            arguments.B0 = Codes(firstPanel, block);
            arguments.B1 = Codes(secondPanel, block);
            arguments.BScales = Scales(firstPanel, block);
            arguments.B1Scales = Scales(secondPanel, block);
            nint ahead = few ? PrefetchBytes : arguments.Blocks * QuantizedPanels.BlockBytes;
            arguments.Prefetch0 = arguments.B0 + ahead;
            arguments.Prefetch1 = arguments.B1 + ahead;
            if (_usesTiles)
            {
                byte* unpacked = (byte*)(tile + TileFloats);
                MultiplyTiles(arguments.B0, (byte*)arguments.BScales, (int)arguments.Blocks, firstRow, rows, block, tile, unpacked);
                MultiplyTiles(
                    arguments.B1, (byte*)arguments.B1Scales, (int)arguments.Blocks, firstRow, rows, block, tile + PanelLayout.Width, unpacked);
            }
            else
            {
                MultiplyRows(&arguments, firstRow, rows, block, tile);
            }
        }

        int firstColumn = firstPanel * PanelLayout.Width;
        int width = Math.Min(ItemWidth, weight.Rows - firstColumn);
        for (int row = 0; row < rows; row++)
        {
            float* y = _y.At(firstRow + row) + firstColumn;
            new ReadOnlySpan<float>(tile + (row * ItemWidth), width).CopyTo(new Span<float>(y, width));
        }
    }

    private byte* Codes(int panel, int block) => _weight!.Panel(panel) + ((nint)block * QuantizedPanels.BlockBytes);

    /// <summary>Scales from a block on: bf16 of int8, f32 of NF4.</summary>
    private void* Scales(int panel, int block)
    {
        byte* source = _weight!.Panel(panel);
        nint first = (nint)block * PanelLayout.Width;
        return _panels is Int8Panels int8 ? int8.Scales(source) + first : ((NF4Panels)_panels!).Scales(source) + first;
    }

    /// <summary>One piece of a panel for all rows of an item, by tiles.</summary>
    private void MultiplyTiles(byte* codes, byte* scales, int blocks, int firstRow, int rows, int block, float* c, byte* unpacked)
    {
        int groupsPerBlock = _panels!.BlockDepth / QuantizeRows.GroupSize;
        int groups = blocks * groupsPerBlock;
        WeightFormat format = _weight!.Format;
        IntegerTiles.Unpack(format, codes, groups, unpacked);
        int* sums = (int*)(unpacked + (groups * 4 * IntegerTileCode.WeightTileBytes));
        _tiles!.BeginIntegers();
        for (int row = 0; row < rows; row += IntegerTileCode.Rows)
        {
            IntegerTiles.Multiply(
                _tiles,
                format,
                _split,
                firstRow + row,
                block * groupsPerBlock,
                _quantize,
                unpacked,
                sums,
                scales,
                groups,
                c + (row * ItemWidth),
                Math.Min(IntegerTileCode.Rows, rows - row),
                resume: block > 0);
        }

        _tiles.End();
    }

    /// <summary>One piece for all rows of an item, in blocks of rows of nearly equal size; the first asks for weights ahead.</summary>
    private void MultiplyRows(DotArguments* arguments, int firstRow, int rows, int block, float* c)
    {
        int rowBlocks = (rows + IntegerDotKernels.MaxRows - 1) / IntegerDotKernels.MaxRows;
        int group = block * (_panels!.BlockDepth / QuantizeRows.GroupSize);
        int row = 0;
        for (int i = 0; i < rowBlocks; i++)
        {
            int count = (rows - row + rowBlocks - i - 1) / (rowBlocks - i);
            arguments->X = (byte*)(_quantize.Integers + ((firstRow + row) * _quantize.Stride) + (group * QuantizeRows.GroupSize));
            arguments->XScales = _quantize.Scales + ((firstRow + row) * _quantize.ScaleStride) + group;
            arguments->C = c + (row * ItemWidth);
            EmittedKernels.Run(_kernels[IntegerDotKernels.Index(_weight!.Format, count, prefetch: i == 0)], arguments);
            row += count;
        }
    }
}
