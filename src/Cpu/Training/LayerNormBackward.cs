using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary>
/// Through <c>y = z weight + bias</c> with <c>z = (x - mean) n</c>, <c>n = 1 / sqrt(var + eps)</c>: with <c>g = dy weight</c>,
/// <c>dx = n (g - mean(g) - z mean(g z))</c>. Rows in parallel; each row's z is kept for the weight's gradient.
/// </summary>
internal sealed unsafe class LayerNormBackward : ParallelJob, IDisposable
{
    private const long SerialLimit = 1 << 14;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private NativeBlock? _normed;
    private Rows _x;
    private Rows _dy;
    private Rows _dx;
    private float* _weight;
    private float _epsilon;
    private int _columns;
    private bool _onlyNormalises;

    public LayerNormBackward(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    /// <summary>The rows z, after <see cref="Normalise"/>.</summary>
    public Rows Normed => new((float*)_normed!.Pointer, _columns);

    /// <summary>Computes z of each row; before the rest, which may overwrite dy.</summary>
    public void Normalise(Rows x, float epsilon, int rows, int columns)
    {
        long bytes = (long)rows * columns * sizeof(float);
        if (_normed is null || _normed.ByteCount < bytes)
        {
            _normed?.Dispose();
            _normed = new NativeBlock(Math.Max(bytes, sizeof(float)), "normed rows of a backward pass");
        }

        _x = x;
        _epsilon = epsilon;
        _columns = columns;
        _onlyNormalises = true;
        _pool.Run(this, rows, (long)rows * columns >= SerialLimit);
    }

    /// <summary>After <see cref="Normalise"/>; dx is added to, or overwritten when it is dy.</summary>
    public void Run(Rows x, float* weight, float epsilon, Rows dy, Rows dx, int rows, int columns)
    {
        _x = x;
        _weight = weight;
        _epsilon = epsilon;
        _dy = dy;
        _dx = dx;
        _columns = columns;
        _onlyNormalises = false;
        _pool.Run(this, rows, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        ReadOnlySpan<float> x = new(_x.At(item), _columns);
        Span<float> z = new(Normed.At(item), _columns);
        float mean = TensorPrimitives.Sum(x) / _columns;
        if (_onlyNormalises)
        {
            TensorPrimitives.Subtract(x, mean, z);
            TensorPrimitives.Multiply(z, 1 / MathF.Sqrt((TensorPrimitives.SumOfSquares<float>(z) / _columns) + _epsilon), z);
            return;
        }

        ReadOnlySpan<float> dy = new(_dy.At(item), _columns);
        Span<float> dx = new(_dx.At(item), _columns);
        Span<float> g = new(_scratch.Get(worker, _columns), _columns);
        TensorPrimitives.Multiply(dy, new ReadOnlySpan<float>(_weight, _columns), g);
        float meanOfG = TensorPrimitives.Sum<float>(g) / _columns;
        float meanOfGz = TensorPrimitives.Dot<float>(g, z) / _columns;
        TensorPrimitives.Subtract(g, meanOfG, g);
        TensorPrimitives.MultiplyAdd(z, -meanOfGz, g, g);

        // 1 / sqrt(var + eps) again, from the input: z alone does not tell it.
        float variance = 0;
        for (int i = 0; i < x.Length; i++)
        {
            variance += (x[i] - mean) * (x[i] - mean);
        }

        float n = 1 / MathF.Sqrt((variance / _columns) + _epsilon);
        if (_dx.At(item) == _dy.At(item))
        {
            TensorPrimitives.Multiply(g, n, dx);
        }
        else
        {
            TensorPrimitives.MultiplyAdd(g, n, dx, dx);
        }
    }

    public void Dispose() => _normed?.Dispose();
}
