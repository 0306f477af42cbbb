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
    private int _columns;

    public RmsNorm(WorkerPool pool) => _pool = pool;

    public void Run(Rows x, float* weight, float offset, float epsilon, Rows y, int rows, int columns)
    {
        _x = x;
        _y = y;
        _weight = weight;
        _offset = offset;
        _epsilon = epsilon;
        _columns = columns;
        _pool.Run(this, rows, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        float* x = _x.At(item);
        float mean = RowSums<TSimd, TVector>.SumOfSquares(x, _columns, 0) / _columns;
        Normalise(x, 1 / MathF.Sqrt(mean + _epsilon), _weight, _offset, _y.At(item), _columns);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Normalise(float* x, float factor, float* weight, float offset, float* y, int count)
    {
        TVector factors = TSimd.Broadcast(factor);
        TVector offsets = TSimd.Broadcast(offset);
        for (int i = 0; i < count; i += TSimd.Count)
        {
            int lanes = Math.Min(TSimd.Count, count - i);
            bool whole = lanes == TSimd.Count;
            TVector values = whole ? TSimd.Load(x + i) : VectorTail<TSimd, TVector>.Load(x + i, lanes);
            TVector weights = whole ? TSimd.Load(weight + i) : VectorTail<TSimd, TVector>.Load(weight + i, lanes);
            TVector result = TSimd.Multiply(TSimd.Multiply(values, factors), TSimd.Add(offsets, weights));
            if (whole)
            {
                TSimd.Store(result, y + i);
            }
            else
            {
                VectorTail<TSimd, TVector>.Store(result, y + i, lanes);
            }
        }
    }
}
