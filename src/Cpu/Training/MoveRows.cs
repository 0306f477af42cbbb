using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary>Copies or clears the rows of a matrix, pieces of it in parallel: two threads move more than one.</summary>
internal sealed unsafe class MoveRows : ParallelJob
{
    private const int FloatsPerItem = 1 << 15;
    private const long SerialLimit = 1 << 16;

    private readonly WorkerPool _pool;
    private Rows? _source;
    private Rows _target;
    private int _rows;
    private long _columns;
    private long _columnsPerItem;
    private int _rowsPerItem;
    private int _pieces;

    public MoveRows(WorkerPool pool) => _pool = pool;

    /// <param name="source">What to copy; null clears.</param>
    /// <param name="target">Where to.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Elements of a row.</param>
    public void Run(Rows? source, Rows target, int rows, int columns)
    {
        if (rows == 0 || columns == 0)
        {
            return;
        }

        _source = source;
        _target = target;
        _rows = rows;
        _columns = columns;
        _columnsPerItem = Math.Min(columns, FloatsPerItem);
        _rowsPerItem = Math.Max(1, FloatsPerItem / columns);
        _pieces = (int)((columns + _columnsPerItem - 1) / _columnsPerItem);
        _pool.Run(this, (rows + _rowsPerItem - 1) / _rowsPerItem * _pieces, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        int first = item / _pieces * _rowsPerItem;
        long column = item % _pieces * _columnsPerItem;
        int count = (int)Math.Min(_columnsPerItem, _columns - column);
        for (int row = first; row < Math.Min(_rows, first + _rowsPerItem); row++)
        {
            Span<float> target = new(_target.At(row) + column, count);
            if (_source is { } source)
            {
                new ReadOnlySpan<float>(source.At(row) + column, count).CopyTo(target);
            }
            else
            {
                target.Clear();
            }
        }
    }
}
