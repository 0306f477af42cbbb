using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Training;

/// <summary><c>norms[o] = |W[first + o] + factor B[o] A|</c>; panels of rows in parallel.</summary>
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
    private int _rows;
    private int _firstPanel;

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
        _rows = rows;
        _firstPanel = firstRow / PanelLayout.Width;
        _pool.Run(this, PanelLayout.PanelCount(firstRow + rows) - _firstPanel, parallel: true);
        _weight = null;
    }

    public override void Execute(int item, int worker)
    {
        // The rows of a panel lie between each other: all of them are unpacked together, also those of the modules beside this one.
        CpuWeightMatrix weight = _weight!;
        int columns = weight.Columns;
        int first = (_firstPanel + item) * PanelLayout.Width;
        int count = Math.Min(PanelLayout.Width, weight.Rows - first);
        float* block = _scratch.Get(worker, (long)count * columns);
        weight.ReadBlock(first, count, 0, columns, block, columns);
        int last = Math.Min(first + count, _firstRow + _rows);
        for (int row = Math.Max(first, _firstRow); row < last; row++)
        {
            Span<float> values = new(block + ((nint)(row - first) * columns), columns);
            for (int r = 0; r < _rank; r++)
            {
                TensorPrimitives.MultiplyAdd(new ReadOnlySpan<float>(_a.At(r), columns), _factor * _b.At(row - _firstRow)[r], values, values);
            }

            _norms[row - _firstRow] = TensorPrimitives.Norm<float>(values);
        }
    }
}
