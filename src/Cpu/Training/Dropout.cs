using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Training;

/// <summary>
/// <c>y = x / (1 - rate)</c> or 0, or added to y. Element i of the matrix is kept when a hash of seed and i is large enough, so no mask is
/// stored and any thread may do any row.
/// </summary>
internal sealed unsafe class Dropout : ParallelJob
{
    private const long SerialLimit = 1 << 14;

    private readonly WorkerPool _pool;
    private Rows _x;
    private Rows _y;
    private ulong _seed;
    private uint _threshold;
    private float _factor;
    private int _columns;
    private bool _add;

    public Dropout(WorkerPool pool) => _pool = pool;

    public void Run(Rows x, float rate, ulong seed, Rows y, int rows, int columns, bool add)
    {
        _x = x;
        _y = y;
        _seed = seed;
        _threshold = (uint)(rate * (double)uint.MaxValue);
        _factor = 1 / (1 - rate);
        _columns = columns;
        _add = add;
        _pool.Run(this, rows, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        float* x = _x.At(item);
        float* y = _y.At(item);
        ulong index = (ulong)item * (ulong)_columns;
        for (int i = 0; i < _columns; i++)
        {
            float value = Hash(_seed + index + (ulong)i) >= _threshold ? x[i] * _factor : 0;
            y[i] = _add ? y[i] + value : value;
        }
    }

    /// <summary>SplitMix64: neighbouring numbers become unrelated ones.</summary>
    private static uint Hash(ulong value)
    {
        value *= 0x9E3779B97F4A7C15;
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return (uint)((value ^ (value >> 31)) >> 32);
    }
}
