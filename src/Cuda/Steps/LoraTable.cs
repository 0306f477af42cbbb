using System.Numerics;
using InferenceServer.Cuda.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Steps;

/// <summary>A batch's groups as kernels read them: which adapters each row takes, found by the row. Kept from step to step.</summary>
internal sealed class LoraTable
{
    /// <summary>Set in a row's number of entries when its low-rank products are a tile's.</summary>
    public const int TileFlag = 1 << 30;

    /// <summary>Rows of a tile; a group of fewer has none.</summary>
    public const int TileRows = 16;

    private const int EntryInts = 4;
    private const int TileInts = 4;
    private const int SectionInts = 4;

    private LoraBatch? _batch;
    private int _groupCount;
    private int _entryCount;
    private int _rows;
    private int _entryStart;
    private int _tileStart;
    private int _tileCount;
    private int _looseRows;
    private bool _makesTiles;

    /// <summary>Integers of the table.</summary>
    public int Length { get; private set; }

    /// <summary>
    /// Whether all adapters of a batch are on the device. One that is being trained is applied by who trains it, and the backend meets it in a step's
    /// batch only.
    /// </summary>
    public static bool CanHold(LoraBatch batch)
    {
        foreach (ref readonly LoraEntry entry in batch.Entries)
        {
            if (entry.Adapter is not CudaAdapter)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Takes a batch and sizes the table.</summary>
    /// <param name="batch">The batch; its table is empty when it has no groups.</param>
    /// <param name="rows">Rows of the step, or of its bucket.</param>
    /// <param name="isRounded">Whether sizes may only depend on <paramref name="rows"/> and on rounded numbers, as a graph wants it.</param>
    /// <param name="makesTiles">Whether rows of large groups go into tiles.</param>
    public void Measure(LoraBatch batch, int rows, bool isRounded, bool makesTiles)
    {
        _batch = batch;
        _groupCount = batch.Groups.Length;
        _entryCount = batch.Entries.Length;
        _rows = rows;
        _makesTiles = makesTiles;
        _tileCount = 0;
        _looseRows = 0;
        Length = 0;
        if (batch.Groups.IsEmpty)
        {
            return;
        }

        foreach (ref readonly LoraGroup group in batch.Groups)
        {
            bool isTiled = IsTiled(group);
            _tileCount += isTiled ? (group.RowCount + TileRows - 1) / TileRows : 0;
            _looseRows += isTiled ? 0 : group.RowCount;
        }

        int entries = batch.Entries.Length;
        _entryStart = ((2 * rows) + SectionInts - 1) & -SectionInts;
        _tileStart = _entryStart + (EntryInts * (isRounded ? (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(rows, entries)) : entries));
        Length = _tileStart + (TileInts * _tileCount);
    }

    /// <summary>Whether this is the batch that was measured last, as it was then.</summary>
    public bool IsOf(LoraBatch batch) =>
        ReferenceEquals(_batch, batch) && batch.Groups.Length == _groupCount && batch.Entries.Length == _entryCount;

    /// <summary>Where the table's parts are, once it lies at an address.</summary>
    public LoraAddresses At(ulong address) => new(
        address, address + ((ulong)_entryStart * sizeof(int)), address + ((ulong)_tileStart * sizeof(int)), _tileCount, _looseRows);

    /// <summary>Writes the table.</summary>
    /// <param name="target">The table.</param>
    /// <param name="held">The batch's adapters are held and added here: somebody lets go of them when nothing is under way.</param>
    /// <exception cref="ArgumentException">An adapter belongs to another backend.</exception>
    public void Fill(Span<int> target, List<CudaAdapter> held)
    {
        if (Length == 0)
        {
            return;
        }

        target[.._entryStart].Clear();
        int tile = _tileStart;
        foreach (ref readonly LoraGroup group in _batch!.Groups)
        {
            int count = group.EntryCount | (IsTiled(group) ? TileFlag : 0);

            // A group beyond the rows is refused by the operation that is given it.
            for (int row = Math.Max(0, group.FirstRow); row < Math.Min(_rows, group.FirstRow + group.RowCount); row++)
            {
                target[2 * row] = group.FirstEntry;
                target[(2 * row) + 1] = count;
            }

            for (int row = 0; (count & TileFlag) != 0 && row < group.RowCount; row += TileRows, tile += TileInts)
            {
                target[tile] = group.FirstRow + row;
                target[tile + 1] = Math.Min(TileRows, group.RowCount - row);
                target[tile + 2] = group.FirstEntry;
                target[tile + 3] = group.EntryCount;
            }
        }

        Span<int> entries = target[_entryStart..];
        foreach (ref readonly LoraEntry entry in _batch.Entries)
        {
            CudaAdapter adapter = CudaAdapter.Of(entry.Adapter);
            adapter.Hold();
            held.Add(adapter);
            entries[0] = (int)adapter.Records;
            entries[1] = (int)(adapter.Records >> 32);
            entries[2] = adapter.ModuleCount;
            entries[3] = BitConverter.SingleToInt32Bits(entry.Weight);
            entries = entries[EntryInts..];
        }
    }

    private bool IsTiled(in LoraGroup group)
    {
        if (!_makesTiles || group.RowCount < TileRows)
        {
            return false;
        }

        foreach (ref readonly LoraEntry entry in _batch!.EntriesOf(group))
        {
            if (!CudaAdapter.Of(entry.Adapter).IsPlain)
            {
                return false;
            }
        }

        return true;
    }
}
