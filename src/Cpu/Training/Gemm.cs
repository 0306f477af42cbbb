using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary><c>c = factor * a b</c>, or added to c: every multiplication of training, whichever factor is transposed or packed.</summary>
/// <remarks>
/// An item is a tile of <see cref="RowsPerItem"/> x <see cref="ColumnsPerItem"/> of c. For each piece of the depth the tile's part of b is
/// laid out in rows of 64 floats (and a transposed a in rows of its own), then <see cref="PanelKernel{TSimd, TVector, TElement}"/>
/// goes on with the tile's sums; so every element is one sum in the order of the depth, whatever the threads. Columns beyond the matrix
/// are zeros in the scratch and never reach c.
/// </remarks>
internal sealed unsafe class Gemm<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int RowsPerItem = 256;
    private const int ColumnsPerItem = 64;

    /// <summary>A multiple of a panel's 32 outputs, which are the depth when a weight is packed.</summary>
    private const int DepthPiece = 256;

    private const long SerialLimit = 1 << 18;
    private const int BlockFloats = DepthPiece * ColumnsPerItem;
    private const int LeftFloats = RowsPerItem * DepthPiece;
    private const int TileFloats = RowsPerItem * ColumnsPerItem;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private GemmSource _a;
    private GemmSource _b;
    private Rows _c;
    private float _factor;
    private bool _add;
    private int _rows;
    private int _columns;
    private int _depth;
    private int _rowGroups;

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
        _rowGroups = (rows + RowsPerItem - 1) / RowsPerItem;
        int columnBlocks = (columns + ColumnsPerItem - 1) / ColumnsPerItem;
        _pool.Run(this, _rowGroups * columnBlocks, (long)rows * columns * depth >= SerialLimit);
        _b = default;
    }

    public override void Execute(int item, int worker)
    {
        int firstRow = item % _rowGroups * RowsPerItem;
        int firstColumn = item / _rowGroups * ColumnsPerItem;
        int rows = Math.Min(RowsPerItem, _rows - firstRow);
        int columns = Math.Min(ColumnsPerItem, _columns - firstColumn);
        float* block = _scratch.Get(worker, BlockFloats + LeftFloats + TileFloats);
        float* left = block + BlockFloats;
        float* tile = left + LeftFloats;
        if (_depth == 0)
        {
            new Span<float>(tile, TileFloats).Clear();
        }

        for (int k = 0; k < _depth; k += DepthPiece)
        {
            int depth = Math.Min(DepthPiece, _depth - k);
            LoadRight(k, depth, firstColumn, columns, block);
            float* a = left;
            nint stride = DepthPiece;
            if (_a.IsTransposed)
            {
                LoadTransposed(_a.Rows, firstRow, rows, k, depth, left, DepthPiece);
            }
            else
            {
                a = _a.Rows.At(firstRow) + k;
                stride = _a.Rows.Stride;
            }

            PanelMode mode = k == 0 ? PanelMode.Overwrite : PanelMode.Resume;
            for (int column = 0; column < columns; column += 2 * TSimd.Count)
            {
                byte* b0 = (byte*)(block + column);
                byte* b1 = (byte*)(block + column + TSimd.Count);
                PanelKernel<TSimd, TVector, F32Element>.Multiply(
                    rows,
                    a,
                    stride,
                    b0,
                    b1,
                    ColumnsPerItem * sizeof(float),
                    depth,
                    tile + column,
                    tile + column + TSimd.Count,
                    ColumnsPerItem,
                    mode);
            }
        }

        for (int row = 0; row < rows; row++)
        {
            Store(_factor, tile + (row * ColumnsPerItem), _c.At(firstRow + row) + firstColumn, columns, _add);
        }
    }

    private void LoadRight(int k, int depth, int firstColumn, int columns, float* block)
    {
        if (columns < ColumnsPerItem)
        {
            new Span<float>(block, depth * ColumnsPerItem).Clear();
        }

        if (_b.Packed is { } weight)
        {
            weight.ReadBlock(k, depth, firstColumn, columns, block, ColumnsPerItem);
        }
        else if (_b.IsTransposed)
        {
            LoadTransposed(_b.Rows, k, depth, firstColumn, columns, block, ColumnsPerItem);
        }
        else
        {
            for (int row = 0; row < depth; row++)
            {
                new ReadOnlySpan<float>(_b.Rows.At(k + row) + firstColumn, columns).CopyTo(
                    new Span<float>(block + (row * ColumnsPerItem), columns));
            }
        }
    }

    /// <summary><c>target[i, j] = source[firstColumn + j, firstRow + i]</c>, in squares of 8 so that both sides stay in the cache.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void LoadTransposed(Rows source, int firstRow, int rows, int firstColumn, int columns, float* target, nint stride)
    {
        const int Square = 8;
        for (int i0 = 0; i0 < rows; i0 += Square)
        {
            int iEnd = Math.Min(rows, i0 + Square);
            for (int j = 0; j < columns; j++)
            {
                float* from = source.At(firstColumn + j) + firstRow;
                for (int i = i0; i < iEnd; i++)
                {
                    target[(i * stride) + j] = from[i];
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Store(float factor, float* source, float* target, int count, bool add)
    {
        TVector factors = TSimd.Broadcast(factor);
        int i = 0;
        for (; i <= count - TSimd.Count; i += TSimd.Count)
        {
            TVector product = TSimd.Multiply(factors, TSimd.Load(source + i));
            TSimd.Store(add ? TSimd.Add(TSimd.Load(target + i), product) : product, target + i);
        }

        for (; i < count; i++)
        {
            float product = factor * source[i];
            target[i] = add ? target[i] + product : product;
        }
    }
}
