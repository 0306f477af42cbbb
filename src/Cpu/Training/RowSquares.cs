using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary>The sum of squares of each row, rows in parallel; their sum is taken in row order, so it has the same bits with any threads.</summary>
internal sealed unsafe class RowSquares : ParallelJob
{
    private const long SerialLimit = 1 << 16;

    private readonly WorkerPool _pool;
    private float[] _sums = [];
    private Rows _x;
    private int _columns;

    public RowSquares(WorkerPool pool) => _pool = pool;

    /// <summary>The sums; valid until the next call.</summary>
    public ReadOnlySpan<float> Run(Rows x, int rows, int columns)
    {
        if (_sums.Length < rows)
        {
            _sums = new float[rows];
        }

        _x = x;
        _columns = columns;
        _pool.Run(this, rows, (long)rows * columns >= SerialLimit);
        return _sums.AsSpan(0, rows);
    }

    public override void Execute(int item, int worker) =>
        _sums[item] = TensorPrimitives.SumOfSquares(new ReadOnlySpan<float>(_x.At(item), _columns));
}
