using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Kernels;

/// <summary><c>y[t, h] = x[t, h] / sqrt(mean(x[t]^2) + eps) * (offset + weight[h])</c>; y may be x. Rows in parallel, f32 sums.</summary>
internal sealed unsafe class RmsNorm<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private Rows _x;
    private Rows _y;
    private float* _weight;
    private float _offset;
    private float _epsilon;
    private int _rows;
    private int _columns;
    private int _rowsPerItem;

    public RmsNorm(WorkerPool pool) => _pool = pool;

    public void Run(Rows x, float* weight, float offset, float epsilon, Rows y, int rows, int columns)
    {
        _x = x;
        _y = y;
        _weight = weight;
        _offset = offset;
        _epsilon = epsilon;
        _rows = rows;
        _columns = columns;
        _rowsPerItem = _pool.RowsPerItem(rows, columns);
        _pool.Run(this, (rows + _rowsPerItem - 1) / _rowsPerItem, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        int end = Math.Min((item + 1) * _rowsPerItem, _rows);
        for (int row = item * _rowsPerItem; row < end; row++)
        {
            float* x = _x.At(row);
            float mean = RowSums<TSimd, TVector>.SumOfSquares(x, _columns, 0) / _columns;
            Normalise(x, 1 / MathF.Sqrt(mean + _epsilon), _weight, _offset, _y.At(row), _columns);
        }
    }

    // Inlined into what takes items, its loop takes twice as long at times.
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void Normalise(float* x, float factor, float* weight, float offset, float* y, int count)
    {
        TVector factors = TSimd.Broadcast(factor);
        TVector offsets = TSimd.Broadcast(offset);
        int i = 0;
        for (; i <= count - TSimd.Count; i += TSimd.Count)
        {
            TVector weights = TSimd.Add(offsets, TSimd.Load(weight + i));
            TSimd.Store(TSimd.Multiply(TSimd.Multiply(TSimd.Load(x + i), factors), weights), y + i);
        }

        if (i < count)
        {
            TVector weights = TSimd.Add(offsets, VectorTail<TSimd, TVector>.Load(weight + i, count - i));
            TVector values = VectorTail<TSimd, TVector>.Load(x + i, count - i);
            VectorTail<TSimd, TVector>.Store(TSimd.Multiply(TSimd.Multiply(values, factors), weights), y + i, count - i);
        }
    }
}
