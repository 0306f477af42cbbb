namespace InferenceServer.Engine.Scheduling;

/// <summary>Number of a sequence in order of arrival; lower is older.</summary>
public readonly record struct SequenceId(long Value) : IComparable<SequenceId>
{
    public int CompareTo(SequenceId other) => Value.CompareTo(other.Value);

    public static bool operator <(SequenceId left, SequenceId right) => left.Value < right.Value;

    public static bool operator >(SequenceId left, SequenceId right) => left.Value > right.Value;

    public static bool operator <=(SequenceId left, SequenceId right) => left.Value <= right.Value;

    public static bool operator >=(SequenceId left, SequenceId right) => left.Value >= right.Value;
}
