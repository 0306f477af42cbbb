using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Kernels;

/// <summary>Unpacks rows of a table: <c>y[t] = table[index[t]]</c>, or adds them to y.</summary>
internal sealed unsafe class GatherRows : ParallelJob
{
    private const long SerialLimit = 1 << 14;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private CpuWeightMatrix? _table;
    private int* _indices;
    private Rows _y;
    private bool _add;

    public GatherRows(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    /// <summary>Every index is below the table's rows (checked by the caller).</summary>
    public void Run(CpuWeightMatrix table, ReadOnlySpan<int> indices, Rows y, bool add)
    {
        fixed (int* pinned = indices)
        {
            _table = table;
            _indices = pinned;
            _y = y;
            _add = add;
            _pool.Run(this, indices.Length, (long)indices.Length * table.Columns >= SerialLimit);
            _table = null;
            _indices = null;
        }
    }

    public override void Execute(int item, int worker)
    {
        CpuWeightMatrix table = _table!;
        float* y = _y.At(item);
        if (!_add)
        {
            table.ReadRow(_indices[item], y);
            return;
        }

        float* row = _scratch.Get(worker, table.Columns);
        table.ReadRow(_indices[item], row);
        for (int i = 0; i < table.Columns; i++)
        {
            y[i] += row[i];
        }
    }
}
