using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Tensors.Steps;

/// <summary>One adapter of a group's stack.</summary>
/// <param name="Adapter">The resident adapter.</param>
/// <param name="Weight">Factor of its whole change; 1 for a plain request.</param>
public readonly record struct LoraEntry(DeviceAdapter Adapter, float Weight);

/// <summary>Consecutive rows of the step that share one stack of adapters.</summary>
/// <param name="FirstRow">First row.</param>
/// <param name="RowCount">Number of rows.</param>
/// <param name="FirstEntry">First of its entries in <see cref="LoraBatch.Entries"/>.</param>
/// <param name="EntryCount">Adapters in the stack, at least 1.</param>
public readonly record struct LoraGroup(int FirstRow, int RowCount, int FirstEntry, int EntryCount);

/// <summary>
/// Which rows of a step take which adapters: rows sorted into groups, ranks as they are, never padded. Reused from step to step.
/// Rows without an adapter are in no group.
/// </summary>
public sealed class LoraBatch
{
    private LoraGroup[] _groups = new LoraGroup[16];
    private LoraEntry[] _entries = new LoraEntry[16];
    private int _groupCount;
    private int _entryCount;

    public ReadOnlySpan<LoraGroup> Groups => _groups.AsSpan(0, _groupCount);

    public ReadOnlySpan<LoraEntry> Entries => _entries.AsSpan(0, _entryCount);

    /// <summary>The stack of one group.</summary>
    public ReadOnlySpan<LoraEntry> EntriesOf(in LoraGroup group) => _entries.AsSpan(group.FirstEntry, group.EntryCount);

    public void Clear()
    {
        // Not only the counts: a stale reference would keep an unloaded adapter's memory alive.
        Array.Clear(_entries, 0, _entryCount);
        _groupCount = 0;
        _entryCount = 0;
    }

    /// <summary>Starts a group; follow with <see cref="AddEntry"/>.</summary>
    public void BeginGroup(int firstRow, int rowCount)
    {
        if (_groupCount == _groups.Length)
        {
            Array.Resize(ref _groups, _groups.Length * 2);
        }

        _groups[_groupCount++] = new LoraGroup(firstRow, rowCount, _entryCount, 0);
    }

    /// <summary>Adds rows to the group started last.</summary>
    public void ExtendGroup(int rowCount)
    {
        LoraGroup group = _groups[_groupCount - 1];
        _groups[_groupCount - 1] = group with { RowCount = group.RowCount + rowCount };
    }

    /// <summary>Adds an adapter to the group started last; adapters are applied in the order added.</summary>
    public void AddEntry(DeviceAdapter adapter, float weight)
    {
        if (_entryCount == _entries.Length)
        {
            Array.Resize(ref _entries, _entries.Length * 2);
        }

        _entries[_entryCount++] = new LoraEntry(adapter, weight);
        LoraGroup group = _groups[_groupCount - 1];
        _groups[_groupCount - 1] = group with { EntryCount = group.EntryCount + 1 };
    }
}
