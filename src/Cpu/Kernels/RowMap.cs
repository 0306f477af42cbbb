using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Kernels;

/// <summary>What <see cref="RowMap{TSimd, TVector, TOperator}"/> does with two elements.</summary>
internal interface IRowOperator<TVector>
{
    TVector Invoke(TVector left, TVector right);
}

/// <summary>The loop of all element-wise operations: <c>y[t, i] = op(left[t, i], right[t, i])</c>; y may be either input.</summary>
internal sealed unsafe class RowMap<TSimd, TVector, TOperator> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
    where TOperator : struct, IRowOperator<TVector>
{
    /// <summary>A multiple of every vector width, so that only the last piece of a row has a tail.</summary>
    private const int ColumnsPerItem = 4096;
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private TOperator _operator;
    private Rows _left;
    private Rows _right;
    private Rows _y;
    private int _rows;
    private int _columns;
    private int _rowsPerItem;
    private int _pieces;

    public RowMap(WorkerPool pool) => _pool = pool;

    public void Run(TOperator rowOperator, Rows left, Rows right, Rows y, int rows, int columns)
    {
        _operator = rowOperator;
        _left = left;
        _right = right;
        _y = y;
        _rows = rows;
        _columns = columns;
        _rowsPerItem = _pool.RowsPerItem(rows, columns);
        _pieces = _rowsPerItem > 1 ? 1 : (columns + ColumnsPerItem - 1) / ColumnsPerItem;
        _pool.Run(this, (rows + _rowsPerItem - 1) / _rowsPerItem * _pieces, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        int first = item % _pieces * ColumnsPerItem;
        int count = _pieces == 1 ? _columns : Math.Min(ColumnsPerItem, _columns - first);
        int firstRow = item / _pieces * _rowsPerItem;
        int end = Math.Min(firstRow + _rowsPerItem, _rows);
        for (int row = firstRow; row < end; row++)
        {
            Map(_operator, _left.At(row) + first, _right.At(row) + first, _y.At(row) + first, count);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void Map(TOperator rowOperator, float* left, float* right, float* y, int count)
    {
        int i = 0;
        for (; i <= count - TSimd.Count; i += TSimd.Count)
        {
            TSimd.Store(rowOperator.Invoke(TSimd.Load(left + i), TSimd.Load(right + i)), y + i);
        }

        if (i < count)
        {
            int rest = count - i;
            TVector last = rowOperator.Invoke(VectorTail<TSimd, TVector>.Load(left + i, rest), VectorTail<TSimd, TVector>.Load(right + i, rest));
            VectorTail<TSimd, TVector>.Store(last, y + i, rest);
        }
    }
}
