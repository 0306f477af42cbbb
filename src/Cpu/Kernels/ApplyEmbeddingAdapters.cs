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
/// The adapters' changes of gathered embeddings, entry after entry: a replacement table or replaced token rows take the row's place (with
/// a weight w in a stack it moves that part of the way), then <c>y[t] += w B A[:, token]</c>.
/// </summary>
internal sealed unsafe class ApplyEmbeddingAdapters<TSimd, TVector> : ParallelJob
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const int SerialRows = 8;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly StepState _step;
    private readonly GroupRows _pieces = new();
    private LoraBatch? _batch;
    private int _module;
    private Rows _y;
    private int _columns;

    public ApplyEmbeddingAdapters(WorkerPool pool, WorkerScratch scratch, StepState step)
    {
        _pool = pool;
        _scratch = scratch;
        _step = step;
    }

    public void Run(LoraBatch batch, int module, TensorView y)
    {
        bool any = false;
        foreach (LoraEntry entry in batch.Entries)
        {
            AdapterPart? part = CpuAdapter.Of(entry.Adapter).Part(module);
            if (part is not null)
            {
                Validate(part, entry.Adapter, module, y.Columns);
                any = true;
            }
        }

        if (!any)
        {
            return;
        }

        _batch = batch;
        _module = module;
        _y = new Rows(y);
        _columns = y.Columns;
        _pieces.Fill(batch);
        _pool.Run(this, _pieces.Count, y.Rows >= SerialRows);
        _batch = null;
    }

    public override void Execute(int item, int worker)
    {
        GroupPiece piece = _pieces[item];
        ReadOnlySpan<LoraEntry> entries = _batch!.EntriesOf(_batch.Groups[piece.Group]);
        float* factors = _scratch.Get(worker, LowRankLayout.RoundUp(_columns));
        ScaledRows<TSimd, TVector>.Apply(entries, _module, input: false, _y, _y, piece.FirstRow, piece.RowCount, 0, _columns, factors);
        foreach (LoraEntry entry in entries)
        {
            AdapterPart? part = CpuAdapter.Of(entry.Adapter).Part(_module);
            for (int row = piece.FirstRow; part is not null && row < piece.FirstRow + piece.RowCount; row++)
            {
                Apply(part, entry.Weight, _step.Inputs.Tokens[row], _y.At(row), worker);
            }
        }
    }

    private void Validate(AdapterPart part, DeviceAdapter adapter, int module, int columns)
    {
        if (part.Gate is not null)
        {
            throw new ArgumentException($"embedding module {module} of '{adapter.Label}' has a gate, and an embedding no input to weigh its blocks by");
        }

        int hidden = part.ReplacedRows is not null ? part.ReplacedColumns : part.Replacement?.Columns ?? part.OutFeatures;
        int vocabulary = part.Replacement?.Rows ?? (part.Rank > 0 ? part.InFeatures : int.MaxValue);
        if (hidden != columns || (part.Rank > 0 && part.OutFeatures != columns) || _step.TokenRange.Max >= vocabulary || _step.TokenRange.Min < 0)
        {
            throw new ArgumentException(
                $"embedding module {module} of '{adapter.Label}' is {vocabulary} tokens by {hidden}, y has {columns} columns and the step tokens "
                + $"{_step.TokenRange.Min}..{_step.TokenRange.Max}");
        }
    }

    private static void Move(float* target, float* values, float weight, int count)
    {
        for (int i = 0; i < count; i++)
        {
            target[i] = weight == 1 ? values[i] : target[i] + (weight * (values[i] - target[i]));
        }
    }

    private void Apply(AdapterPart part, float weight, int token, float* y, int worker)
    {
        if (part.Replacement is not null)
        {
            float* row = _scratch.Get(worker, _columns);
            part.Replacement.ReadRow(token, row);
            Move(y, row, weight, _columns);
        }

        int replaced = part.ReplacedRows is null ? -1 : Array.BinarySearch(part.ReplacedTokens, token);
        if (replaced >= 0)
        {
            Move(y, (float*)part.ReplacedRows!.Pointer + ((nint)replaced * part.ReplacedStride), weight, _columns);
        }

        if (part.Rank > 0)
        {
            if (part.Format == WeightFormat.F32)
            {
                AddLowRank<F32Run>(part, weight, token, y, worker);
            }
            else
            {
                AddLowRank<BF16Run>(part, weight, token, y, worker);
            }
        }
    }

    private void AddLowRank<TElement>(AdapterPart part, float weight, int token, float* y, int worker)
        where TElement : struct, ILowRankElement
    {
        int tileFloats = Expand<TSimd, TVector, TElement>.TileFloats(1);
        float* tile = _scratch.Get(worker, tileFloats + part.Rank);
        float* h = tile + tileFloats;
        for (int rank = 0; rank < part.Rank; rank++)
        {
            // The token is below the vocabulary, checked before.
            h[rank] = weight * LowRankLayout.ReadA(part.A, part.Rank, part.InFeatures, part.Format, rank, token);
        }

        Expand<TSimd, TVector, TElement>.Apply(1, h, 0, part.B, part.Rank, 0, _columns, y, 0, tile);
    }
}
