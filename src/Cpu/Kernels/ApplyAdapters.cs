using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Kernels;

/// <summary>
/// Adds the groups' adapters to a module's output:
/// <c>y = (1 + sum w_i (OutputScale_i - 1)) y + sum w_i (B_i (g_i A_i x) + OutputBias_i)</c>, entry after entry; g_i is 1 without a gate.
/// </summary>
/// <remarks>
/// A work item is up to <see cref="GroupRows.RowsPerPiece"/> rows of one group, from the scale to the last entry, so groups with different
/// adapters run beside each other and ranks are never padded. The rows of an item share each reading of A and B.
/// </remarks>
internal sealed unsafe class ApplyAdapters<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const long SerialLimit = 1 << 16;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly GroupRows _pieces = new();
    private LoraBatch? _batch;
    private int _module;
    private Rows _x;
    private Rows _y;
    private int _inputs;
    private int _outputs;

    public ApplyAdapters(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    public void Run(LoraBatch batch, int module, TensorView x, TensorView y)
    {
        long work = 0;
        foreach (LoraGroup group in batch.Groups)
        {
            foreach (LoraEntry entry in batch.EntriesOf(group))
            {
                AdapterPart? part = CpuAdapter.Of(entry.Adapter).Part(module);
                if (part is not null)
                {
                    Validate(part, entry.Adapter, module, x, y);
                    work += (long)group.RowCount * ((part.Rank * ((long)x.Columns + y.Columns)) + ((part.Gate?.Blocks ?? 0) * (long)x.Columns) + y.Columns);
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
        _inputs = x.Columns;
        _outputs = y.Columns;
        _pieces.Fill(batch);
        _pool.Run(this, _pieces.Count, work >= SerialLimit);
        _batch = null;
    }

    public override void Execute(int item, int worker)
    {
        GroupPiece piece = _pieces[item];
        ReadOnlySpan<LoraEntry> entries = _batch!.EntriesOf(_batch.Groups[piece.Group]);
        float* factors = _scratch.Get(worker, AdapterPart.RoundUp(_outputs));
        ScaledRows<TSimd, TVector>.Apply(entries, _module, input: false, _y, _y, piece.FirstRow, piece.RowCount, _outputs, factors);
        foreach (LoraEntry entry in entries)
        {
            AdapterPart? part = CpuAdapter.Of(entry.Adapter).Part(_module);
            if (part is null)
            {
                continue;
            }

            if (part.Rank > 0 && part.Replacement is null)
            {
                if (part.Format == WeightFormat.F32)
                {
                    AddLowRank<F32Element>(part, entry.Weight, piece, worker);
                }
                else
                {
                    AddLowRank<BF16Element>(part, entry.Weight, piece, worker);
                }
            }

            if (part.OutputBias is not null)
            {
                for (int row = piece.FirstRow; row < piece.FirstRow + piece.RowCount; row++)
                {
                    WeightedAdd<TSimd, TVector>.Apply(part.OutputBias.Pointer, entry.Weight, _y.At(row), _outputs);
                }
            }
        }
    }

    private static void Validate(AdapterPart part, DeviceAdapter adapter, int module, TensorView x, TensorView y)
    {
        if (part.OutFeatures != 0 && part.OutFeatures != y.Columns)
        {
            throw new ArgumentException($"module {module} of '{adapter.Label}' has {part.OutFeatures} outputs, y has {y.Columns} columns");
        }

        if (part.Rank > 0 && part.InFeatures != x.Columns)
        {
            throw new ArgumentException($"module {module} of '{adapter.Label}' has {part.InFeatures} inputs, x has {x.Columns} columns");
        }
    }

    private void AddLowRank<TElement>(AdapterPart part, float weight, GroupPiece piece, int worker)
        where TElement : struct, IPanelElement
    {
        int hStride = AdapterPart.RoundUp(part.Rank);
        int tileFloats = Expand<TSimd, TVector, TElement>.TileFloats(piece.RowCount);
        int gStride = AdapterPart.RoundUp(part.Gate?.Blocks ?? 0);
        float* tile = _scratch.Get(worker, tileFloats + ((long)piece.RowCount * (hStride + gStride)));
        float* h = tile + tileFloats;
        float* x = _x.At(piece.FirstRow);
        Shrink<TSimd, TVector, TElement>.Apply(
            piece.RowCount, x, _x.Stride, part.A!.Pointer, part.AStride, part.Rank, _inputs, weight, h, hStride);
        if (part.Gate is AdapterGate gate)
        {
            float* g = h + ((nint)piece.RowCount * hStride);
            GateBlocks<TSimd, TVector>.Apply(piece.RowCount, x, _x.Stride, gate, part.AStride, _inputs, g, gStride, h, hStride);
        }

        Expand<TSimd, TVector, TElement>.Apply(
            piece.RowCount, h, hStride, part.B!.Pointer, part.Rank, _outputs, _y.At(piece.FirstRow), _y.Stride, tile);
    }
}
