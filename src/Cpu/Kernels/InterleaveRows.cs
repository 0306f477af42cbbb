using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Copies blocks of rows into <c>[block][k][rows of a block]</c>, so that a multiplication reads the x of all its rows from one stream;
/// rows beyond the last are zeros, whose results nobody reads.
/// </summary>
internal sealed unsafe class InterleaveRows : ParallelJob, IDisposable
{
    private const int DepthPerItem = 1024;
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _memory = new(1);
    private Rows _x;
    private float* _target;
    private int _rows;
    private int _columns;
    private int _blockRows;
    private int _pieces;

    public InterleaveRows(WorkerPool pool) => _pool = pool;

    /// <summary>The interleaved copy; valid until the next call.</summary>
    /// <param name="x">Rows.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="blockRows">Rows of a block.</param>
    public float* Run(Rows x, int rows, int columns, int blockRows)
    {
        int blocks = (rows + blockRows - 1) / blockRows;
        _target = _memory.Get(0, (long)blocks * blockRows * columns);
        _x = x;
        _rows = rows;
        _columns = columns;
        _blockRows = blockRows;
        _pieces = (columns + DepthPerItem - 1) / DepthPerItem;
        _pool.Run(this, blocks * _pieces, (long)rows * columns >= SerialLimit);
        return _target;
    }

    public override void Execute(int item, int worker)
    {
        int block = item / _pieces;
        int first = item % _pieces * DepthPerItem;
        int count = Math.Min(DepthPerItem, _columns - first);
        float* target = _target + ((((nint)block * _columns) + first) * _blockRows);
        for (int row = 0; row < _blockRows; row++)
        {
            int source = (block * _blockRows) + row;
            if (source < _rows)
            {
                Copy(_x.At(source) + first, target + row, _blockRows, count);
            }
            else
            {
                Clear(target + row, _blockRows, count);
            }
        }
    }

    public void Dispose() => _memory.Dispose();

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Copy(float* source, float* target, nint stride, int count)
    {
        for (int k = 0; k < count; k++)
        {
            *target = source[k];
            target += stride;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Clear(float* target, nint stride, int count)
    {
        for (int k = 0; k < count; k++)
        {
            *target = 0;
            target += stride;
        }
    }
}
