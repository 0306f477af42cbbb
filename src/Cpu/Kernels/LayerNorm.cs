using System.Runtime.CompilerServices;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Kernels;

/// <summary><c>y = (x - mean) / sqrt(var + eps) * weight + bias</c> by row, biased variance; y may be x. Rows in parallel, f32 sums.</summary>
internal sealed unsafe class LayerNorm<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private Rows _x;
    private Rows _y;
    private float* _weight;
    private float* _bias;
    private float _epsilon;
    private int _columns;

    public LayerNorm(WorkerPool pool) => _pool = pool;

    /// <param name="x">Input rows.</param>
    /// <param name="weight"><c>[H]</c>.</param>
    /// <param name="bias"><c>[H]</c> or null.</param>
    /// <param name="epsilon">Added to the variance.</param>
    /// <param name="y">Output rows.</param>
    /// <param name="rows">T.</param>
    /// <param name="columns">H.</param>
    public void Run(Rows x, float* weight, float* bias, float epsilon, Rows y, int rows, int columns)
    {
        _x = x;
        _y = y;
        _weight = weight;
        _bias = bias;
        _epsilon = epsilon;
        _columns = columns;
        _pool.Run(this, rows, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        // Two passes: the variance around the known mean does not cancel.
        float* x = _x.At(item);
        float mean = RowSums<TSimd, TVector>.Sum(x, _columns) / _columns;
        float variance = RowSums<TSimd, TVector>.SumOfSquares(x, _columns, mean) / _columns;
        Normalise(x, mean, 1 / MathF.Sqrt(variance + _epsilon), _weight, _bias, _y.At(item), _columns);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Normalise(float* x, float mean, float factor, float* weight, float* bias, float* y, int count)
    {
        TVector means = TSimd.Broadcast(mean);
        TVector factors = TSimd.Broadcast(factor);
        for (int i = 0; i < count; i += TSimd.Count)
        {
            int lanes = Math.Min(TSimd.Count, count - i);
            bool whole = lanes == TSimd.Count;
            TVector values = whole ? TSimd.Load(x + i) : VectorTail<TSimd, TVector>.Load(x + i, lanes);
            TVector weights = whole ? TSimd.Load(weight + i) : VectorTail<TSimd, TVector>.Load(weight + i, lanes);
            TVector result = TSimd.Multiply(TSimd.Multiply(TSimd.Subtract(values, means), factors), weights);
            if (bias is not null)
            {
                result = TSimd.Add(result, whole ? TSimd.Load(bias + i) : VectorTail<TSimd, TVector>.Load(bias + i, lanes));
            }

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
