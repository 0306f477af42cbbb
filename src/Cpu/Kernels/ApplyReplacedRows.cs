using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Outputs of replaced vocabulary rows: <c>y[t, token_j] = values_j . x[t]</c>; with a weight w in a stack the output moves that part of
/// the way, <c>y += w (values_j . x - y)</c>.
/// </summary>
internal sealed unsafe class ApplyReplacedRows<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const long SerialLimit = 1 << 16;

    private readonly WorkerPool _pool;
    private readonly GroupRows _pieces = new();
    private LoraBatch? _batch;
    private int _module;
    private Rows _x;
    private Rows _y;

    public ApplyReplacedRows(WorkerPool pool) => _pool = pool;

    public void Run(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        long work = 0;
        foreach (LoraGroup group in batch.Groups)
        {
            foreach (LoraEntry entry in batch.EntriesOf(group))
            {
                AdapterPart? part = CpuAdapter.Of(entry.Adapter).Part(module);
                if (part?.ReplacedRows is not null)
                {
                    if (part.ReplacedColumns != x.Columns || part.ReplacedTokens[^1] >= y.Columns)
                    {
                        throw new ArgumentException(
                            $"replaced rows of module {module} of '{entry.Adapter.Label}' have {part.ReplacedColumns} columns and tokens up to "
                            + $"{part.ReplacedTokens[^1]}, x has {x.Columns} columns and y {y.Columns}");
                    }

                    work += (long)group.RowCount * part.ReplacedTokens.Length * part.ReplacedColumns;
                }
            }
        }

        if (work == 0)
        {
            return;
        }

        _batch = batch;
        _module = module;
        _x = new Rows(x);
        _y = new Rows(y);
        _pieces.Fill(batch);
        _pool.Run(this, _pieces.Count, work >= SerialLimit);
        _batch = null;
    }

    public override void Execute(int item, int worker)
    {
        GroupPiece piece = _pieces[item];
        float dot;
        float* tail = stackalloc float[LowRankLayout.Run];
        foreach (LoraEntry entry in _batch!.EntriesOf(_batch.Groups[piece.Group]))
        {
            AdapterPart? part = CpuAdapter.Of(entry.Adapter).Part(_module);
            if (part?.ReplacedRows is null)
            {
                continue;
            }

            float* rows = (float*)part.ReplacedRows.Pointer;
            for (int row = piece.FirstRow; row < piece.FirstRow + piece.RowCount; row++)
            {
                float* y = _y.At(row);
                for (int i = 0; i < part.ReplacedTokens.Length; i++)
                {
                    byte* values = (byte*)(rows + ((nint)i * part.ReplacedStride));
                    Shrink<TSimd, TVector, F32Run>.Apply(1, _x.At(row), 0, values, 1, part.ReplacedColumns, 1, &dot, 0, tail);
                    float* target = y + part.ReplacedTokens[i];
                    *target = entry.Weight == 1 ? dot : *target + (entry.Weight * (dot - *target));
                }
            }
        }
    }
}
