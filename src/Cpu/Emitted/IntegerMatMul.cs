using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// <c>y = x W^T</c> with quantised W by <see cref="IntegerDotKernels"/>: x becomes integers first; each group of inputs is summed exactly, the groups
/// in f32 in their order.
/// </summary>
/// <remarks>
/// Work is cut into pairs of panels (64 outputs) times groups of rows. A few rows stream the codes past once, asking for them ahead. Up to two dozen take
/// them in pieces, over which blocks of six rows pass, the first of which asks for the next piece. For more rows a block of them goes through all inputs
/// at once, with its sums in the first-level cache and the codes in the second, where those of the next panels are asked for meanwhile.
/// </remarks>
internal sealed unsafe class IntegerMatMul : ParallelJob, IDisposable
{
    private const int PanelsPerItem = 2;
    private const int ItemWidth = IntegerDotKernels.ResultStride;
    private const int MaxRowsPerItem = 192;

    /// <summary>The same where items would be too few for the threads.</summary>
    private const int FewerRowsPerItem = 96;
    private const int ItemsPerWorker = 4;

    /// <summary>Bytes of x that leave room for panels in the second-level cache.</summary>
    private const int ItemInputBytes = 384 << 10;

    /// <summary>Most rows that take codes in pieces.</summary>
    private const int MaxPieceRows = 4 * IntegerDotKernels.MaxRows;

    /// <summary>Blocks of a piece.</summary>
    private const int PieceBlocks = 8;

    /// <summary>How many blocks ahead a few rows ask for; the last ones of an item ask for the beginning of another.</summary>
    private const int FewBlocksAhead = 3;

    /// <summary>The same where more rows leave memory less time.</summary>
    private const int BlocksAhead = 4;

    private const int FewRows = 3;

    /// <summary>Inputs of a piece for tiles.</summary>
    private const int TileDepth = 256;

    /// <summary>Rows up to which dot products are enough: the time is that of reading weights.</summary>
    private const int MostDotRows = 16;

    private const int ResultFloats = MaxRowsPerItem * ItemWidth;

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
    private int _panelPairs;
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
        _quantize.Run(new Rows(x), _rows, x.Columns, weight.Format, room);
        _usesTiles = _tiles is not null && _rows > MostDotRows;
        if (_usesTiles && weight.Format == WeightFormat.Int8)
        {
            _split.Run(_quantize, _rows, room);
        }

        int panelPairs = (weight.PanelCount + PanelsPerItem - 1) / PanelsPerItem;
        CutRows(MaxRowsPerItem);
        if (panelPairs * _rowGroups < ItemsPerWorker * _pool.WorkerCount)
        {
            CutRows(FewerRowsPerItem);
        }

        bool parallel = (long)_rows * weight.Rows * weight.Columns >= SerialLimit;
        _panelPairs = panelPairs;
        _pool.Run(this, panelPairs * _rowGroups, parallel);
        _weight = null;
        _panels = null;
    }

    private void CutRows(int atMost)
    {
        int most = (int)Math.Clamp(ItemInputBytes / _quantize.Stride, MaxPieceRows, atMost) / IntegerDotKernels.MaxRows * IntegerDotKernels.MaxRows;
        _rowGroups = (_rows + most - 1) / most;
        _rowsPerGroup = (_rows + _rowGroups - 1) / _rowGroups;
    }

    public void Dispose()
    {
        _quantize.Dispose();
        _split.Dispose();
    }

    public override void Execute(int item, int worker)
    {
        // Panels of the same rows follow each other, so that x stays in the cache.
        CpuWeightMatrix weight = _weight!;
        int firstPanel = item % _panelPairs * PanelsPerItem;
        int firstRow = item / _panelPairs * _rowsPerGroup;
        int rows = Math.Min(_rowsPerGroup, _rows - firstRow);
        long tableFloats = 2L * _panels!.BlockCount * ScaleMantissas.GroupBytes / sizeof(float);
        float* result = _scratch.Get(worker, ResultFloats + Math.Max(tableFloats, IntegerTiles.ScratchFloats(TileDepth)));

        // Where the second panel is missing the first stands in, for columns of the result that nobody reads.
        int lastPanel = weight.PanelCount - 1;
        int firstColumn = firstPanel * PanelLayout.Width;
        int secondPanel = Math.Min(firstPanel + 1, lastPanel);
        int blockCount = _panels.BlockCount;
        if (_usesTiles)
        {
            MultiplyTiles(firstPanel, secondPanel, firstRow, rows, result);
            CopyRows(result, firstRow, rows, firstColumn);
            return;
        }

        int blocksAhead = rows <= FewRows ? FewBlocksAhead : BlocksAhead;
        int piece = rows <= IntegerDotKernels.MaxRows ? Math.Max(blockCount - blocksAhead, 1)
            : rows <= MaxPieceRows ? PieceBlocks
            : blockCount;
        DotArguments arguments = new()
        {
            XStride = _quantize.Stride,
            XFactorStride = _quantize.Groups * sizeof(GroupFactor),
            CStride = ItemWidth * sizeof(float),
            Values = IntegerWeights.Values,
        };
        for (int block = 0; block < blockCount; block += piece)
        {
            int blocks = Math.Min(piece, blockCount - block);
            arguments.Blocks = blocks;
            arguments.Resume = block > 0 ? 1 : 0;
            arguments.B0 = Codes(firstPanel, block);
            arguments.B1 = Codes(secondPanel, block);
            if (block + blocks < blockCount)
            {
                int ahead = (rows <= IntegerDotKernels.MaxRows ? blocksAhead : blocks) * _panels.BlockStride;
                arguments.Prefetch0 = arguments.B0 + ahead;
                arguments.Prefetch1 = arguments.B1 + ahead;
            }
            else
            {
                // Where workers take turns, this one comes there next.
                int next = (firstPanel + (PanelsPerItem * _pool.WorkerCount)) % (PanelsPerItem * _panelPairs);
                arguments.Prefetch0 = Codes(next, 0);
                arguments.Prefetch1 = Codes(Math.Min(next + 1, lastPanel), 0);
            }

            MultiplyRows(&arguments, firstRow, rows, block, result, result + ResultFloats, firstColumn, block + blocks == blockCount);
        }
    }

    private void AskForRows(int firstRow, int rows, int firstColumn)
    {
        for (int row = firstRow; row < firstRow + rows; row++)
        {
            byte* y = (byte*)(_y.At(row) + firstColumn);
            for (int i = 0; i < ItemWidth * sizeof(float); i += KernelParts.VectorBytes)
            {
                SoftwarePrefetch.At(y + i);
            }
        }
    }

    private void CopyRows(float* result, int firstRow, int rows, int firstColumn)
    {
        int width = Math.Min(ItemWidth, _weight!.Rows - firstColumn);
        for (int row = 0; row < rows; row++)
        {
            float* y = _y.At(firstRow + row) + firstColumn;
            new ReadOnlySpan<float>(result + (row * ItemWidth), width).CopyTo(new Span<float>(y, width));
        }
    }

    private byte* Codes(int panel, int block) => _weight!.Panel(panel) + ((nint)block * _panels!.BlockStride);

    /// <summary>Two panels for all rows of an item, by tiles, whose shapes are set once: to set and free them took 150 ns and more, as long as several groups.</summary>
    private void MultiplyTiles(int firstPanel, int secondPanel, int firstRow, int rows, float* result)
    {
        int piece = TileDepth / _panels!.BlockDepth;
        byte* unpacked = (byte*)(result + ResultFloats);
        _tiles!.BeginIntegers();
        for (int block = 0; block < _panels.BlockCount; block += piece)
        {
            int blocks = Math.Min(piece, _panels.BlockCount - block);
            MultiplyTiles(Codes(firstPanel, block), blocks, firstRow, rows, block, result, unpacked);
            MultiplyTiles(Codes(secondPanel, block), blocks, firstRow, rows, block, result + PanelLayout.Width, unpacked);
        }

        _tiles.End();
    }

    /// <summary>One piece of a panel for all rows of an item, by tiles.</summary>
    private void MultiplyTiles(byte* codes, int blocks, int firstRow, int rows, int block, float* c, byte* unpacked)
    {
        WeightFormat format = _weight!.Format;
        IntegerTiles.Unpack(format, codes, blocks, unpacked);
        int* sums = (int*)(unpacked + IntegerTiles.UnpackedBytes(TileDepth));
        for (int row = 0; row < rows; row += IntegerTileCode.Rows)
        {
            IntegerTiles.Multiply(
                _tiles!,
                format,
                _quantize,
                firstRow + row,
                block,
                _split,
                unpacked,
                sums,
                codes + QuantizedPanels.BlockBytes,
                blocks,
                c + (row * ItemWidth),
                Math.Min(IntegerTileCode.Rows, rows - row),
                resume: block > 0);
        }
    }

    /// <summary>One piece for all rows of an item, in blocks of rows of nearly equal size; the first two ask for a half of the next each. After the last piece the sums go to y.</summary>
    private void MultiplyRows(DotArguments* arguments, int firstRow, int rows, int block, float* c, float* scaleTable, int firstColumn, bool last)
    {
        int rowBlocks = (rows + IntegerDotKernels.MaxRows - 1) / IntegerDotKernels.MaxRows;
        IntegerShape shape = rowBlocks == 1 ? IntegerShape.TwoPanels
            : rows > MaxPieceRows && _weight!.Format == WeightFormat.NF4 ? IntegerShape.ScaledPanel
            : IntegerShape.Panel;
        if (shape == IntegerShape.ScaledPanel)
        {
            nint tableFloats = arguments->Blocks * ScaleMantissas.GroupBytes / sizeof(float);
            ScaleMantissas.Multiply(arguments->B0, (int)arguments->Blocks, scaleTable);
            ScaleMantissas.Multiply(arguments->B1, (int)arguments->Blocks, scaleTable + tableFloats);
            arguments->BScales = scaleTable;
        }

        // Sums that begin and end here need no place of their own; kernels of one panel keep them in registers.
        bool direct = last && block == 0 && shape != IntegerShape.TwoPanels && firstColumn + ItemWidth <= _weight!.Rows;
        if (direct)
        {
            arguments->CStride = _y.Stride * sizeof(float);
        }

        DotArguments second = *arguments;
        second.B0 = arguments->B1;
        second.BScales = scaleTable + (arguments->Blocks * ScaleMantissas.GroupBytes / sizeof(float));
        byte* prefetch0 = arguments->Prefetch0;
        byte* prefetch1 = arguments->Prefetch1;
        int row = 0;
        for (int i = 0; i < rowBlocks; i++)
        {
            int count = (rows - row + rowBlocks - i - 1) / (rowBlocks - i);
            if (last)
            {
                AskForRows(firstRow + row, count, firstColumn);
            }

            CodesAhead ahead = rowBlocks == 1 ? CodesAhead.Near : i < 2 ? CodesAhead.Far : CodesAhead.None;
            nint share = i * arguments->Blocks * _panels!.BlockStride / 2;
            arguments->X = _quantize.Integers + ((firstRow + row) * _quantize.Stride) + (block * QuantizeRows.GroupBytes);
            arguments->XFactors = _quantize.Factors + ((nint)(firstRow + row) * _quantize.Groups) + block;
            arguments->C = direct ? _y.At(firstRow + row) + firstColumn : c + (row * ItemWidth);
            arguments->Prefetch0 = prefetch0 + share;
            arguments->Prefetch1 = prefetch1 + share;
            if (shape != IntegerShape.TwoPanels)
            {
                second.X = arguments->X;
                second.XFactors = arguments->XFactors;
                second.C = arguments->C + PanelLayout.Width;
                second.Prefetch0 = arguments->Prefetch1;
                Multiply(&second, shape, count, ahead);
            }

            Multiply(arguments, shape, count, ahead);

            if (last && !direct)
            {
                CopyRows(arguments->C, firstRow + row, count, firstColumn);
            }

            row += count;
        }
    }

    private void Multiply(DotArguments* arguments, IntegerShape shape, int rows, CodesAhead ahead) =>
        EmittedKernels.Run(_kernels[IntegerDotKernels.Index(_weight!.Format, shape, rows, ahead)], arguments);
}
