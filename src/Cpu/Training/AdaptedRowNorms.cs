using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Training;

/// <summary><c>norms[o] = |W[first + o] + factor B[o] A|</c>; rows in parallel.</summary>
internal sealed unsafe class AdaptedRowNorms : ParallelJob
{
    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private CpuWeightMatrix? _weight;
    private int _firstRow;
    private Rows _a;
    private Rows _b;
    private int _rank;
    private float _factor;
    private float* _norms;

    public AdaptedRowNorms(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    public void Run(CpuWeightMatrix weight, int firstRow, Rows a, Rows b, int rank, float factor, float* norms, int rows)
    {
        _weight = weight;
        _firstRow = firstRow;
        _a = a;
        _b = b;
        _rank = rank;
        _factor = factor;
        _norms = norms;
        _pool.Run(this, rows, parallel: true);
        _weight = null;
    }

    public override void Execute(int item, int worker)
    {
        int columns = _weight!.Columns;
        float* row = _scratch.Get(worker, columns);
        Span<float> values = new(row, columns);
        _weight.ReadRow(_firstRow + item, row);
        for (int r = 0; r < _rank; r++)
        {
            TensorPrimitives.MultiplyAdd(new ReadOnlySpan<float>(_a.At(r), columns), _factor * _b.At(item)[r], values, values);
        }

        _norms[item] = TensorPrimitives.Norm<float>(values);
    }
}
