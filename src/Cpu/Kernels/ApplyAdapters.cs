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
/// Adds the groups' adapters to the outputs of modules that read one input, for each module
/// <c>y = (1 + sum w_i (OutputScale_i - 1)) y + sum w_i (B_i (g_i A_i x) + OutputBias_i)</c>, entry after entry; g_i is 1 without a gate.
/// </summary>
/// <remarks>
/// A unit is one module and up to <see cref="GroupRows.RowsPerPiece"/> rows of one group, which share each reading of A and B; ranks are
/// never padded. Where units are many, each is one work item from the scale to the last entry. Where they are few, all threads first make
/// the units' h = A x, a block of ranks each, then finish their outputs, some columns each. Both ways give the same bits.
/// </remarks>
internal sealed unsafe class ApplyAdapters<TSimd, TVector> : ParallelJob, IDisposable
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    private const long SerialLimit = 1 << 16;
    private const int ColumnStep = 2 * LowRankLayout.Run;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _scratch;
    private readonly WorkerScratch _sharedH = new(1);
    private readonly GroupRows _pieces = new();
    private ModuleColumns[] _modules = new ModuleColumns[4];
    private int _moduleCount;
    private LoraBatch? _batch;
    private Rows _x;
    private Rows _y;
    private int _inputs;
    private Phase _phase;
    private int _maxRank;
    private int _maxBlocks;
    private int _maxEntries;
    private int _columnParts;
    private int _maxGateBlocks;
    private float* _allH;

    public ApplyAdapters(WorkerPool pool, WorkerScratch scratch)
    {
        _pool = pool;
        _scratch = scratch;
    }

    /// <summary>What a work item is.</summary>
    private enum Phase
    {
        WholeUnits,
        Shrink,
        Finish,
    }

    private nint HStride => LowRankLayout.RoundUp(_maxRank);

    /// <summary>Floats of one entry's h in a unit.</summary>
    private nint HFloats => GroupRows.RowsPerPiece * HStride;

    public void Run(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y)
    {
        long work = Prepare(batch, modules, x, y);
        if (work == 0)
        {
            return;
        }

        _batch = batch;
        _x = new Rows(x);
        _y = new Rows(y);
        _inputs = x.Columns;
        _pieces.Fill(batch);
        bool parallel = work >= SerialLimit && _pool.WorkerCount > 1;
        int units = _pieces.Count * _moduleCount;
        if (!parallel || units >= 2 * _pool.WorkerCount || _maxGateBlocks > 0)
        {
            _phase = Phase.WholeUnits;
            _pool.Run(this, units, parallel);
        }
        else
        {
            _allH = _sharedH.Get(0, units * _maxEntries * HFloats);
            _columnParts = ((4 * _pool.WorkerCount) + units - 1) / units;
            _phase = Phase.Shrink;
            _pool.Run(this, units * _maxEntries * _maxBlocks, parallel: true);
            _phase = Phase.Finish;
            _pool.Run(this, units * _columnParts, parallel: true);
        }

        _batch = null;
    }

    public void Dispose() => _sharedH.Dispose();

    public override void Execute(int item, int worker)
    {
        switch (_phase)
        {
            case Phase.WholeUnits:
                ApplyUnit(item, worker);
                break;
            case Phase.Shrink:
                ShrinkBlock(item / (_maxEntries * _maxBlocks), item / _maxBlocks % _maxEntries, item % _maxBlocks, worker);
                break;
            default:
                int unit = item / _columnParts;
                int columns = Module(unit).ColumnCount;
                int step = LowRankLayout.RoundUp((columns + _columnParts - 1) / _columnParts) / ColumnStep * ColumnStep + ColumnStep;
                int first = item % _columnParts * step;
                if (first < columns)
                {
                    Finish(unit, first, Math.Min(step, columns - first), _allH + (unit * _maxEntries * HFloats), _scratch.Get(worker, FinishFloats(step)));
                }

                break;
        }
    }

    /// <summary>Checks that the adapters fit, notes the modules that any of them changes and how much work it is.</summary>
    private long Prepare(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y)
    {
        if (_modules.Length < modules.Length)
        {
            _modules = new ModuleColumns[modules.Length];
        }

        _moduleCount = 0;
        _maxRank = 0;
        _maxBlocks = 1;
        _maxEntries = 1;
        _maxGateBlocks = 0;
        long all = 0;
        foreach (ModuleColumns columns in modules)
        {
            long work = 0;
            foreach (ref readonly LoraGroup group in batch.Groups)
            {
                _maxEntries = Math.Max(_maxEntries, group.EntryCount);
                foreach (ref readonly LoraEntry entry in batch.EntriesOf(group))
                {
                    if (CpuAdapter.Of(entry.Adapter).Part(columns.Module) is { } part)
                    {
                        Validate(part, entry.Adapter, columns, x);
                        int gateBlocks = part.Gate?.Blocks ?? 0;
                        work += (long)group.RowCount
                            * ((part.Rank * ((long)x.Columns + columns.ColumnCount)) + (gateBlocks * (long)x.Columns) + columns.ColumnCount);
                        _maxRank = Math.Max(_maxRank, part.Rank);
                        _maxGateBlocks = Math.Max(_maxGateBlocks, gateBlocks);
                    }
                }
            }

            if (work > 0)
            {
                _modules[_moduleCount++] = columns;
                all += work;
            }
        }

        _maxBlocks = LowRankLayout.MaxBlocks(_maxRank);
        return all;
    }

    private static void Validate(AdapterPart part, DeviceAdapter adapter, ModuleColumns columns, TensorView x)
    {
        if (part.OutFeatures != 0 && part.OutFeatures != columns.ColumnCount)
        {
            throw new ArgumentException(
                $"module {columns.Module} of '{adapter.Label}' has {part.OutFeatures} outputs, y has {columns.ColumnCount} columns");
        }

        if (part.Rank > 0 && part.InFeatures != x.Columns)
        {
            throw new ArgumentException($"module {columns.Module} of '{adapter.Label}' has {part.InFeatures} inputs, x has {x.Columns} columns");
        }
    }

    private ModuleColumns Module(int unit) => _modules[unit % _moduleCount];

    private GroupPiece Piece(int unit) => _pieces[unit / _moduleCount];

    private ReadOnlySpan<LoraEntry> Entries(int unit) => _batch!.EntriesOf(_batch.Groups[Piece(unit).Group]);

    private AdapterPart? Part(LoraEntry entry, int unit) => CpuAdapter.Of(entry.Adapter).Part(Module(unit).Module);

    private static bool HasLowRank(AdapterPart? part) => part is { Rank: > 0, Replacement: null };

    private static long FinishFloats(int columns) => Expand<TSimd, TVector, F32Run>.TileFloats(GroupRows.RowsPerPiece) + (long)LowRankLayout.RoundUp(columns);

    private void ApplyUnit(int unit, int worker)
    {
        GroupPiece piece = Piece(unit);
        ReadOnlySpan<LoraEntry> entries = Entries(unit);
        int columns = Module(unit).ColumnCount;
        int tailFloats = Shrink<TSimd, TVector, F32Run>.TailFloats(piece.RowCount);
        int gStride = LowRankLayout.RoundUp(_maxGateBlocks);
        float* tails = _scratch.Get(worker, tailFloats + ((long)piece.RowCount * gStride) + (entries.Length * HFloats) + FinishFloats(columns));
        float* g = tails + tailFloats;
        float* h = g + (piece.RowCount * gStride);
        for (int i = 0; i < entries.Length; i++)
        {
            AdapterPart? part = Part(entries[i], unit);
            if (HasLowRank(part))
            {
                ShrinkRanks(part!, entries[i].Weight, piece, 0, part!.Rank, h + (i * HFloats), tails);
                if (part.Gate is AdapterGate gate)
                {
                    GateBlocks<TSimd, TVector>.Apply(
                        piece.RowCount, _x.At(piece.FirstRow), _x.Stride, gate, _inputs, g, gStride, h + (i * HFloats), HStride, tails);
                }
            }
        }

        Finish(unit, 0, columns, h, h + (entries.Length * HFloats));
    }

    private void ShrinkBlock(int unit, int entry, int block, int worker)
    {
        ReadOnlySpan<LoraEntry> entries = Entries(unit);
        AdapterPart? part = entry < entries.Length ? Part(entries[entry], unit) : null;
        if (!HasLowRank(part))
        {
            return;
        }

        int first = 0;
        for (; block > 0 && first < part!.Rank; block--)
        {
            first += LowRankLayout.BlockRanks(part.Rank - first);
        }

        if (first < part!.Rank)
        {
            GroupPiece piece = Piece(unit);
            float* tails = _scratch.Get(worker, Shrink<TSimd, TVector, F32Run>.TailFloats(piece.RowCount));
            int ranks = LowRankLayout.BlockRanks(part.Rank - first);
            ShrinkRanks(part, entries[entry].Weight, piece, first, ranks, _allH + (((unit * _maxEntries) + entry) * HFloats), tails);
        }
    }

    // Whole blocks of ranks, from the first of one.
    private void ShrinkRanks(AdapterPart part, float weight, GroupPiece piece, int first, int count, float* h, float* tails)
    {
        float* x = _x.At(piece.FirstRow);
        for (int end = first + count, block; first < end; first += block)
        {
            block = LowRankLayout.BlockRanks(part.Rank - first);
            if (part.Format == WeightFormat.F32)
            {
                Shrink<TSimd, TVector, F32Run>.ApplyBlock(piece.RowCount, x, _x.Stride, part.A, first, block, _inputs, weight, h, HStride, tails);
            }
            else
            {
                Shrink<TSimd, TVector, BF16Run>.ApplyBlock(piece.RowCount, x, _x.Stride, part.A, first, block, _inputs, weight, h, HStride, tails);
            }
        }
    }

    /// <summary>Scales some of a unit's outputs and adds its entries to them.</summary>
    private void Finish(int unit, int first, int count, float* h, float* scratch)
    {
        GroupPiece piece = Piece(unit);
        ModuleColumns module = Module(unit);
        ReadOnlySpan<LoraEntry> entries = Entries(unit);
        Rows y = new(_y.At(0) + module.FirstColumn, _y.Stride);
        float* factors = scratch + Expand<TSimd, TVector, F32Run>.TileFloats(GroupRows.RowsPerPiece);
        ScaledRows<TSimd, TVector>.Apply(entries, module.Module, input: false, y, y, piece.FirstRow, piece.RowCount, first, count, factors);
        for (int i = 0; i < entries.Length; i++)
        {
            AdapterPart? part = Part(entries[i], unit);
            float* target = y.At(piece.FirstRow);
            float* entryH = h + (i * HFloats);
            if (HasLowRank(part))
            {
                if (part!.Format == WeightFormat.F32)
                {
                    Expand<TSimd, TVector, F32Run>.Apply(piece.RowCount, entryH, HStride, part.B, part.Rank, first, count, target, y.Stride, scratch);
                }
                else
                {
                    Expand<TSimd, TVector, BF16Run>.Apply(piece.RowCount, entryH, HStride, part.B, part.Rank, first, count, target, y.Stride, scratch);
                }
            }

            for (int row = 0; part?.OutputBias is not null && row < piece.RowCount; row++)
            {
                WeightedAdd<TSimd, TVector>.Apply(part.OutputBias.Pointer + first, entries[i].Weight, target + (row * y.Stride) + first, count);
            }
        }
    }
}
