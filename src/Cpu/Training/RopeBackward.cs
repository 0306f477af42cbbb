using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary>
/// Through <c>x[i] = x[i] cos - x[i + half] sin; x[i + half] = x[i + half] cos + x[i] sin</c>: the rotation the other way,
/// <c>dx[i] = dy[i] cos + dy[i + half] sin; dx[i + half] = dy[i + half] cos - dy[i] sin</c>, in place. Rows in parallel.
/// </summary>
internal sealed unsafe class RopeBackward : ParallelJob
{
    private const long SerialLimit = 1 << 14;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private int[] _positions = [];
    private Rows _dx;
    private float* _cos;
    private float* _sin;
    private int _half;
    private int _heads;
    private int _headSize;

    public RopeBackward(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    public void Run(Rows dx, float* cos, float* sin, int half, int heads, int headSize, ReadOnlySpan<int> positions)
    {
        if (_positions.Length < positions.Length)
        {
            _positions = new int[positions.Length];
        }

        positions.CopyTo(_positions);
        _dx = dx;
        _cos = cos;
        _sin = sin;
        _half = half;
        _heads = heads;
        _headSize = headSize;
        _pool.Run(this, positions.Length, (long)positions.Length * heads * headSize >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        nint at = (nint)_positions[item] * _half;
        ReadOnlySpan<float> cos = new(_cos + at, _half);
        ReadOnlySpan<float> sin = new(_sin + at, _half);
        Span<float> old = new(_scratch.Get(worker, _half), _half);
        for (int head = 0; head < _heads; head++)
        {
            float* start = _dx.At(item) + (head * _headSize);
            Span<float> first = new(start, _half);
            Span<float> second = new(start + _half, _half);
            TensorPrimitives.Multiply(first, sin, old);
            TensorPrimitives.Multiply(first, cos, first);
            TensorPrimitives.MultiplyAdd(second, sin, first, first);
            TensorPrimitives.Multiply(second, cos, second);
            TensorPrimitives.Subtract(second, old, second);
        }
    }
}
