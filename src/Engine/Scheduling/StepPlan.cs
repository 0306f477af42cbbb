namespace InferenceServer.Engine.Scheduling;

/// <summary>Who runs in the next step and how many tokens of it: pure data, reused from step to step.</summary>
public sealed class StepPlan
{
    private readonly PlannedSequence[] _items;
    private int _count;

    internal StepPlan(int maxSequences) => _items = new PlannedSequence[maxSequences];

    /// <summary>Sequences of one adapter stack side by side, the base model's first.</summary>
    public ReadOnlySpan<PlannedSequence> Sequences => _items.AsSpan(0, _count);

    /// <summary>Rows of the step.</summary>
    public int TokenCount { get; private set; }

    public bool IsEmpty => _count == 0;

    internal void Clear()
    {
        // Also the references: an ended sequence must not be kept alive by an idle engine.
        Array.Clear(_items, 0, _count);
        _count = 0;
        TokenCount = 0;
    }

    internal void Add(in PlannedSequence item)
    {
        _items[_count++] = item;
        TokenCount += item.TokenCount;
    }

    internal void Sort() => _items.AsSpan(0, _count).Sort(static (left, right) =>
    {
        int byStack = unchecked((uint)left.Sequence.Stack.SortKey).CompareTo(unchecked((uint)right.Sequence.Stack.SortKey));
        return byStack != 0 ? byStack : left.Sequence.Id.CompareTo(right.Sequence.Id);
    });
}
