using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Training;

/// <summary><c>c = factor * a b</c>, or added to c: every multiplication of training, whichever factor is transposed or packed.</summary>
/// <remarks>
/// An item is a tile of c. For each piece of the depth a transposed a is laid out in rows once, and the tile's part of b, 64 columns at a
/// time, in rows of 64 floats that stay in the second-level cache while all rows of the tile pass over it;
/// <see cref="PanelKernel{TSimd, TVector, TElement}"/> goes on with the sums where they rest, in c. So every element is one sum in the
/// order of the depth, begun at what c held when it is added to, whatever the tiles and threads. Columns of b beyond the matrix are zeros
/// in the scratch; their results, and those of a block that is no multiple of two vectors, go to a tile of the scratch first.
/// </remarks>
internal sealed unsafe class Gemm<TSimd, TVector> : ParallelJob, IDisposable
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <summary>Most rows of a tile: laying out b costs a share of one over this of the multiplications.</summary>
    private const int MostRows = 512;

    /// <summary>Most rows of a tile when a is transposed: its layout stays in the second-level cache.</summary>
    private const int MostTransposedRows = 256;

    private const int LeastRows = 32;
    private const int BlockColumns = 64;

    /// <summary>A multiple of a panel's 32 outputs, which are the depth when a weight is packed.</summary>
    private const int DepthPiece = 256;

    /// <summary>Tiles for each worker at least, so that none waits long for the last.</summary>
    private const int TilesPerWorker = 4;

    private const long SerialLimit = 1 << 18;
    private const int BlockFloats = DepthPiece * BlockColumns;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly WorkerScratch _turned = new(1);
    private GemmSource _a;
    private GemmSource _b;
    private Rows _c;
    private float _factor;
    private bool _add;
    private int _rows;
    private int _columns;
    private int _depth;
    private int _tileRows;
    private int _tileColumns;
    private int _rowTiles;

    public Gemm(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    public void Run(float factor, GemmSource a, GemmSource b, Rows c, int rows, int columns, int depth, bool add)
    {
        _a = a;
        _b = b;
        _c = c;
        _factor = factor;
        _add = add;
        _rows = rows;
        _columns = columns;
        _depth = depth;
        CutIntoTiles();
        int columnTiles = (columns + _tileColumns - 1) / _tileColumns;
        _pool.Run(this, _rowTiles * columnTiles, (long)rows * columns * depth >= SerialLimit);
        _b = default;
    }

    /// <summary>
    /// <c>c += factor * a^T b</c> for a c of few columns, the gradient of an up projection: <c>b^T a</c> is computed instead, which
    /// turns the narrow b and leaves the wide a as it lies.
    /// </summary>
    public void RunNarrow(float factor, TensorView a, TensorView b, Rows c)
    {
        float* turned = _turned.Get(0, (long)a.Columns * b.Columns);
        Rows product = new(turned, a.Columns);
        Run(factor, GemmSource.Transposed(b), GemmSource.Of(a), product, b.Columns, a.Columns, a.Rows, add: false);
        for (int row = 0; row < a.Columns; row++)
        {
            float* target = c.At(row);
            for (int column = 0; column < b.Columns; column++)
            {
                target[column] += turned[((nint)column * a.Columns) + row];
            }
        }
    }

    public override void Execute(int item, int worker)
    {
        int firstRow = item % _rowTiles * _tileRows;
        int firstColumn = item / _rowTiles * _tileColumns;
        int rows = Math.Min(_tileRows, _rows - firstRow);
        int lastColumn = Math.Min(_columns, firstColumn + _tileColumns);
        float* block = _scratch.Get(worker, BlockFloats + (long)(rows * BlockColumns) + (_a.IsTransposed ? rows * DepthPiece : 0));
        float* tile = block + BlockFloats;
        float* left = tile + (rows * BlockColumns);
        if (_depth == 0 && !_add)
        {
            ClearTarget(firstRow, rows, firstColumn, lastColumn);
        }

        for (int k = 0; k < _depth; k += DepthPiece)
        {
            int depth = Math.Min(DepthPiece, _depth - k);
            float* a = left;
            nint stride = DepthPiece;
            if (_a.IsTransposed)
            {
                TransposeBlock.Run(_a.Rows.At(k) + firstRow, _a.Rows.Stride, depth, rows, left, DepthPiece);
            }
            else
            {
                a = _a.Rows.At(firstRow) + k;
                stride = _a.Rows.Stride;
            }

            for (int column = firstColumn; column < lastColumn; column += BlockColumns)
            {
                int columns = Math.Min(BlockColumns, lastColumn - column);
                LoadRight(k, depth, column, columns, block);
                MultiplyBlock(rows, a, stride, block, depth, columns, _c.At(firstRow) + column, _add || k > 0, tile);
            }
        }
    }

    public void Dispose() => _turned.Dispose();

    private void CutIntoTiles()
    {
        // How c is cut changes no bit of it.
        _tileRows = _a.IsTransposed ? MostTransposedRows : MostRows;
        _tileColumns = _a.IsTransposed ? RoundUp(_columns, BlockColumns) : BlockColumns;
        int wanted = _pool.WorkerCount == 1 ? 1 : TilesPerWorker * _pool.WorkerCount;
        while (Tiles() < wanted && (_tileRows > LeastRows || _tileColumns > BlockColumns))
        {
            // Rows are cut to a multiple of the kernel's.
            if (_tileRows > LeastRows && (_tileRows >= _tileColumns || _tileColumns == BlockColumns))
            {
                _tileRows = RoundUp(Math.Min(_tileRows, _rows) / 2, LeastRows);
            }
            else
            {
                _tileColumns = RoundUp(_tileColumns / 2, BlockColumns);
            }
        }

        _rowTiles = (_rows + _tileRows - 1) / _tileRows;
    }

    private int Tiles() => ((_rows + _tileRows - 1) / _tileRows) * ((_columns + _tileColumns - 1) / _tileColumns);

    private static int RoundUp(int count, int unit) => Math.Max(1, (count + unit - 1) / unit) * unit;

    private void MultiplyBlock(int rows, float* a, nint stride, float* block, int depth, int columns, float* c, bool add, float* tile)
    {
        bool isDirect = columns % (2 * TSimd.Count) == 0;
        PanelMode mode = isDirect && add ? PanelMode.Resume : PanelMode.Overwrite;
        float* target = isDirect ? c : tile;
        nint targetStride = isDirect ? _c.Stride : BlockColumns;
        for (int column = 0; column < columns; column += 2 * TSimd.Count)
        {
            byte* b0 = (byte*)(block + column);
            PanelKernel<TSimd, TVector, F32Element>.Multiply(
                rows,
                a,
                stride,
                b0,
                b0 + (TSimd.Count * sizeof(float)),
                BlockColumns * sizeof(float),
                depth,
                target + column,
                target + column + TSimd.Count,
                targetStride,
                mode);
        }

        for (int row = 0; row < rows && !isDirect; row++)
        {
            ReadOnlySpan<float> source = new(tile + (row * BlockColumns), columns);
            Span<float> sum = new(c + (row * _c.Stride), columns);
            if (add)
            {
                TensorPrimitives.Add(sum, source, sum);
            }
            else
            {
                source.CopyTo(sum);
            }
        }
    }

    /// <summary>Lays a block of b out in rows of 64 floats, the factor in it.</summary>
    private void LoadRight(int k, int depth, int firstColumn, int columns, float* block)
    {
        if (columns < BlockColumns)
        {
            new Span<float>(block, depth * BlockColumns).Clear();
        }

        if (_b.Packed is { } weight)
        {
            weight.ReadBlock(k, depth, firstColumn, columns, block, BlockColumns);
        }
        else if (_b.IsTransposed)
        {
            TransposeBlock.Run(_b.Rows.At(firstColumn) + k, _b.Rows.Stride, columns, depth, block, BlockColumns);
        }
        else
        {
            for (int row = 0; row < depth; row++)
            {
                new ReadOnlySpan<float>(_b.Rows.At(k + row) + firstColumn, columns).CopyTo(
                    new Span<float>(block + (row * BlockColumns), columns));
            }
        }

        if (_factor != 1f)
        {
            Span<float> values = new(block, depth * BlockColumns);
            TensorPrimitives.Multiply(values, _factor, values);
        }
    }

    private void ClearTarget(int firstRow, int rows, int firstColumn, int lastColumn)
    {
        for (int row = firstRow; row < firstRow + rows; row++)
        {
            new Span<float>(_c.At(row) + firstColumn, lastColumn - firstColumn).Clear();
        }
    }
}
