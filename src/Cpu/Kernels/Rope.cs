using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Rotates pairs (i, i + half) of each head in place by the row's position:
/// <c>x[i] = x[i] cos - x[i + half] sin; x[i + half] = x[i + half] cos + x[i] sin</c>.
/// </summary>
internal sealed unsafe class Rope<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private readonly StepState _step;
    private Rows _x;
    private float* _cos;
    private float* _sin;
    private int _half;
    private int _heads;
    private int _headSize;
    private int _rows;
    private int _rowsPerItem;

    public Rope(WorkerPool pool, StepState step)
    {
        _pool = pool;
        _step = step;
    }

    /// <param name="x">Rows of <paramref name="heads"/> heads.</param>
    /// <param name="cos"><c>[positions, half]</c>.</param>
    /// <param name="sin"><c>[positions, half]</c>.</param>
    /// <param name="half">Pairs of a head that rotate.</param>
    /// <param name="heads">Heads of a row.</param>
    /// <param name="headSize">D.</param>
    /// <param name="rows">T.</param>
    public void Run(Rows x, float* cos, float* sin, int half, int heads, int headSize, int rows)
    {
        _x = x;
        _cos = cos;
        _sin = sin;
        _half = half;
        _heads = heads;
        _headSize = headSize;
        _rows = rows;
        _rowsPerItem = _pool.RowsPerItem(rows, heads * headSize);
        _pool.Run(this, (rows + _rowsPerItem - 1) / _rowsPerItem, (long)rows * heads * headSize >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        int end = Math.Min((item + 1) * _rowsPerItem, _rows);
        for (int row = item * _rowsPerItem; row < end; row++)
        {
            nint at = (nint)_step.Inputs.Positions[row] * _half;
            for (int head = 0; head < _heads; head++)
            {
                float* first = _x.At(row) + (head * _headSize);
                Rotate(first, first + _half, _cos + at, _sin + at, _half);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rotate(float* first, float* second, float* cos, float* sin, int count)
    {
        int i = 0;
        for (; i <= count - TSimd.Count; i += TSimd.Count)
        {
            TVector a = TSimd.Load(first + i);
            TVector b = TSimd.Load(second + i);
            TVector c = TSimd.Load(cos + i);
            TVector s = TSimd.Load(sin + i);
            TSimd.Store(TSimd.Subtract(TSimd.Multiply(a, c), TSimd.Multiply(b, s)), first + i);
            TSimd.Store(TSimd.Add(TSimd.Multiply(b, c), TSimd.Multiply(a, s)), second + i);
        }

        for (; i < count; i++)
        {
            float a = first[i];
            float b = second[i];
            first[i] = (a * cos[i]) - (b * sin[i]);
            second[i] = (b * cos[i]) + (a * sin[i]);
        }
    }
}
