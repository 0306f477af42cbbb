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
/// cache while all rows of the group pass over it; the sums rest in y between the pieces, which changes no bit.
/// </remarks>
internal sealed unsafe class MatMul<TSimd, TVector> : ParallelJob, IDisposable
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int PanelsPerItem = 2;
    private const int ItemWidth = PanelsPerItem * PanelLayout.Width;
    private const int RowsPerItem = 64;
    private const int DepthPiece = 256;

    /// <summary>Multiplications below which waking another thread costs more than it brings.</summary>
    private const long SerialLimit = 1 << 18;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly InterleaveRows _interleave;
    private CpuWeightMatrix? _weight;
    private float* _interleaved;
    private Rows _x;
    private Rows _y;
    private int _rows;
    private int _rowGroups;
    private int _blockRows;

    public MatMul(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
        _interleave = new InterleaveRows(pool);
    }

    public void Run(TensorView x, CpuWeightMatrix weight, TensorView y)
    {
        _weight = weight;
        _x = new Rows(x);
        _y = new Rows(y);
        _rows = x.Rows;
        _rowGroups = (_rows + RowsPerItem - 1) / RowsPerItem;

        // One or two rows are read as they lie; blocks of four are for wide registers and three or four rows only.
        _blockRows = _rows <= 2 ? _rows : _rows <= 4 ? 4 : TSimd.MaxRows;
        _interleaved = weight.Format == WeightFormat.BF16 && _rows > 2 ? _interleave.Run(_x, _rows, weight.Columns, _blockRows) : null;
        int panelPairs = (weight.PanelCount + PanelsPerItem - 1) / PanelsPerItem;
        bool parallel = (long)_rows * weight.Rows * weight.Columns >= SerialLimit;
        _pool.Run(this, panelPairs * _rowGroups, parallel);
        _weight = null;
    }

    public void Dispose() => _interleave.Dispose();

    public override void Execute(int item, int worker)
    {
        // Row groups of the same panels follow each other, so that the panels are still in the cache.
        CpuWeightMatrix weight = _weight!;
        int firstPanel = item / _rowGroups * PanelsPerItem;
        int firstRow = item % _rowGroups * RowsPerItem;
        int rows = Math.Min(RowsPerItem, _rows - firstRow);
        int firstColumn = firstPanel * PanelLayout.Width;
        int width = Math.Min(ItemWidth, weight.Rows - firstColumn);

        // Padding columns must not reach y, nor padding rows of the last interleaved block: those results go to a tile first.
        float* tile = _scratch.Get(worker, RowsPerItem * ItemWidth);
        int direct = width < ItemWidth ? 0 : weight.Format == WeightFormat.F32 ? rows : rows / _blockRows * _blockRows;
        float* y = _y.At(firstRow) + firstColumn;
        if (weight.Format == WeightFormat.F32)
        {
            MultiplyF32(weight, firstPanel, firstRow, rows, direct > 0 ? y : tile, direct > 0 ? _y.Stride : ItemWidth);
        }
        else
        {
            MultiplyBF16(weight, firstPanel, firstRow, rows, direct, y, tile);
        }

        for (int row = direct; row < rows; row++)
        {
            new ReadOnlySpan<float>(tile + (row * ItemWidth), width).CopyTo(new Span<float>(y + (row * _y.Stride), width));
        }
    }

    private void MultiplyF32(CpuWeightMatrix weight, int firstPanel, int firstRow, int rows, float* target, nint targetStride)
    {
        int panels = Math.Min(PanelsPerItem, weight.PanelCount - firstPanel);
        int piece = rows <= TSimd.MaxRows ? weight.Columns : DepthPiece;
        for (int k = 0; k < weight.Columns; k += piece)
        {
            int depth = Math.Min(piece, weight.Columns - k);
            PanelMode mode = k == 0 ? PanelMode.Overwrite : PanelMode.Resume;
            for (int column = 0; column < panels * PanelLayout.Width; column += 2 * TSimd.Count)
            {
                nint offset = (((nint)k * PanelLayout.Width) + (column % PanelLayout.Width)) * sizeof(float);
                byte* b = weight.Panel(firstPanel + (column / PanelLayout.Width)) + offset;
                PanelKernel<TSimd, TVector, F32Element>.Multiply(
                    rows,
                    _x.At(firstRow) + k,
                    _x.Stride,
                    b,
                    b + (TSimd.Count * sizeof(float)),
                    PanelLayout.Width * sizeof(float),
                    depth,
                    target + column,
                    target + column + TSimd.Count,
                    targetStride,
                    mode);
            }
        }
    }

    private void MultiplyBF16(CpuWeightMatrix weight, int firstPanel, int firstRow, int rows, int direct, float* y, float* tile)
    {
        // Few rows go four vectors of columns at a time; where the second panel is missing the first stands in, for tile columns unread.
        int vectors = _blockRows <= 2 || (_blockRows == 4 && TSimd.MaxRows > 4) ? 4 : 2;
        int panels = Math.Min(PanelsPerItem, weight.PanelCount - firstPanel);
        int piece = rows <= _blockRows ? weight.Columns : DepthPiece;
        for (int k = 0; k < weight.Columns; k += piece)
        {
            int depth = Math.Min(piece, weight.Columns - k);
            for (int column = 0; column < panels * PanelLayout.Width; column += vectors * TSimd.Count)
            {
                byte* b0 = Weights(weight, firstPanel, column, k);
                byte* b1 = Weights(weight, firstPanel, column + TSimd.Count, k);
                for (int row = 0; row < rows; row += _blockRows)
                {
                    bool whole = row < direct;
                    float* c = (whole ? y + (row * _y.Stride) : tile + (row * ItemWidth)) + column;
                    nint stride = whole ? _y.Stride : ItemWidth;
                    float* x = _interleaved is null
                        ? _x.At(firstRow + row) + k
                        : _interleaved + ((((nint)(firstRow + row) * weight.Columns) + ((nint)k * _blockRows)));
                    if (vectors == 2)
                    {
                        MultiplyTwo(x, b0, b1, depth, c, stride, k > 0);
                    }
                    else
                    {
                        byte* b2 = Weights(weight, firstPanel, column + (2 * TSimd.Count), k);
                        byte* b3 = Weights(weight, firstPanel, column + (3 * TSimd.Count), k);
                        MultiplyFour(x, b0, b1, b2, b3, depth, c, stride, k > 0);
                    }
                }
            }
        }
    }

    private void MultiplyTwo(float* x, byte* b0, byte* b1, int depth, float* c, nint stride, bool resume)
    {
        if (_blockRows == 8)
        {
            PairPanelKernel<TSimd, TVector>.Interleaved8(x, b0, b1, depth, c, c + TSimd.Count, stride, resume);
        }
        else
        {
            PairPanelKernel<TSimd, TVector>.Interleaved4(x, b0, b1, depth, c, c + TSimd.Count, stride, resume);
        }
    }

    private void MultiplyFour(float* x, byte* b0, byte* b1, byte* b2, byte* b3, int depth, float* c, nint stride, bool resume)
    {
        float* c1 = c + TSimd.Count;
        float* c2 = c1 + TSimd.Count;
        float* c3 = c2 + TSimd.Count;
        switch (_blockRows)
        {
            case 1:
                PairPanelKernel<TSimd, TVector>.Rows1(x, b0, b1, b2, b3, depth, c, c1, c2, c3, resume);
                break;
            case 2:
                PairPanelKernel<TSimd, TVector>.Rows2(x, _x.Stride, b0, b1, b2, b3, depth, c, c1, c2, c3, stride, resume);
                break;
            default:
                PairPanelKernel<TSimd, TVector>.Interleaved4By4(x, b0, b1, b2, b3, depth, c, c1, c2, c3, stride, resume);
                break;
        }
    }

    /// <summary>Weights of a vector of columns of the pair of panels, from input k on; a column of a missing panel is read from the last.</summary>
    private static byte* Weights(CpuWeightMatrix weight, int firstPanel, int column, int k)
    {
        int panel = Math.Min(firstPanel + (column / PanelLayout.Width), weight.PanelCount - 1);

        // k is a multiple of the depth block, of which a panel has two tiles.
        nint block = (nint)(k / PanelLayout.DepthBlock) * 2 * PanelLayout.TileBytes;
        return weight.Panel(panel) + block + PanelLayout.BF16ColumnOffset(column % PanelLayout.Width);
    }
}
