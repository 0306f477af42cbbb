using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary>
/// <c>sums[h] += sum over t of x[t, h] z[t, h] f[t]</c>; z and f may be missing. Blocks of columns in parallel, rows in order.
/// </summary>
internal sealed unsafe class ColumnSums : ParallelJob
{
    private const int ColumnsPerItem = 128;
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private Rows _x;
    private Rows? _z;
    private float[]? _factors;
    private float* _sums;
    private int _rows;
    private int _columns;

    public ColumnSums(WorkerPool pool) => _pool = pool;

    public void Run(Rows x, Rows? z, float[]? factors, float* sums, int rows, int columns)
    {
        _x = x;
        _z = z;
        _factors = factors;
        _sums = sums;
        _rows = rows;
        _columns = columns;
        _pool.Run(this, (columns + ColumnsPerItem - 1) / ColumnsPerItem, (long)rows * columns >= SerialLimit);
        _factors = null;
    }

    public override void Execute(int item, int worker)
    {
        int first = item * ColumnsPerItem;
        int count = Math.Min(ColumnsPerItem, _columns - first);
        float* block = stackalloc float[2 * ColumnsPerItem];
        Span<float> total = new(block, count);
        Span<float> product = new(block + ColumnsPerItem, count);
        total.Clear();
        for (int row = 0; row < _rows; row++)
        {
            ReadOnlySpan<float> x = new(_x.At(row) + first, count);
            if (_z is { } z)
            {
                TensorPrimitives.Multiply(x, new ReadOnlySpan<float>(z.At(row) + first, count), product);
                x = product;
            }

            if (_factors is null)
            {
                TensorPrimitives.Add(total, x, total);
            }
            else
            {
                TensorPrimitives.MultiplyAdd(x, _factors[row], total, total);
            }
        }

        Span<float> sums = new(_sums + first, count);
        TensorPrimitives.Add(sums, total, sums);
    }
}
