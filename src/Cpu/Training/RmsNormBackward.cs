using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary>
/// Through <c>y = x n (offset + weight)</c> with <c>n = 1 / sqrt(mean(x^2) + eps)</c>: with <c>g = dy (offset + weight)</c>,
/// <c>dx = n g - x n^3 mean(g x)</c>. Rows in parallel; each row's n is kept for the weight's gradient.
/// </summary>
internal sealed unsafe class RmsNormBackward : ParallelJob
{
    private const long SerialLimit = 1 << 14;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly RowSquares _squares;
    private Rows _x;
    private Rows _dy;
    private Rows _dx;
    private float* _weight;
    private float _offset;
    private int _columns;
    private float[] _factors = [];

    public RmsNormBackward(WorkerPool pool, WorkerScratch scratch, RowSquares squares)
    {
        _pool = pool;
        _squares = squares;
        _scratch = scratch;
    }

    /// <summary>n of each row, after <see cref="FindFactors"/>.</summary>
    public ReadOnlySpan<float> Factors => _factors;

    /// <summary>Computes n of each row; before the rest, which may overwrite dy.</summary>
    public void FindFactors(Rows x, float epsilon, int rows, int columns)
    {
        if (_factors.Length < rows)
        {
            _factors = new float[rows];
        }

        ReadOnlySpan<float> squares = _squares.Run(x, rows, columns);
        for (int row = 0; row < rows; row++)
        {
            _factors[row] = 1 / MathF.Sqrt((squares[row] / columns) + epsilon);
        }
    }

    /// <summary>dx is added to, or overwritten when it is dy.</summary>
    public void Run(Rows x, float* weight, float offset, Rows dy, Rows dx, int rows, int columns)
    {
        _x = x;
        _weight = weight;
        _offset = offset;
        _dy = dy;
        _dx = dx;
        _columns = columns;
        _pool.Run(this, rows, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        ReadOnlySpan<float> x = new(_x.At(item), _columns);
        ReadOnlySpan<float> dy = new(_dy.At(item), _columns);
        Span<float> dx = new(_dx.At(item), _columns);
        Span<float> g = new(_scratch.Get(worker, _columns), _columns);
        float n = _factors[item];
        TensorPrimitives.Add(new ReadOnlySpan<float>(_weight, _columns), _offset, g);
        TensorPrimitives.Multiply(g, dy, g);
        float slope = n * n * n * TensorPrimitives.Dot(g, x) / _columns;
        if (_dx.At(item) == _dy.At(item))
        {
            TensorPrimitives.Multiply(g, n, dx);
        }
        else
        {
            TensorPrimitives.MultiplyAdd(g, n, dx, dx);
        }

        TensorPrimitives.MultiplyAdd(x, -slope, dx, dx);
    }
}
