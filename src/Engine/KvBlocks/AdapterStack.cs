using System.Collections.Immutable;

namespace InferenceServer.Engine.KvBlocks;

/// <summary>
/// What a sequence's keys and values depend on beside its tokens: its adapters, by digest and weight, in order. Compared part by part;
/// names and digests are never glued into one string, where a crafted name could stand for another stack.
/// </summary>
public sealed class AdapterStack : IEquatable<AdapterStack>
{
    private readonly ImmutableArray<StackedAdapter> _adapters;

    public AdapterStack(ImmutableArray<StackedAdapter> adapters)
    {
        _adapters = adapters;
        HashCode hash = default;
        foreach (StackedAdapter adapter in adapters)
        {
            hash.Add(adapter);
        }

        SortKey = adapters.IsEmpty ? 0 : hash.ToHashCode();
    }

    /// <summary>The base model alone.</summary>
    public static AdapterStack Base { get; } = new([]);

    public ImmutableArray<StackedAdapter> Adapters => _adapters;

    public bool IsBase => _adapters.IsEmpty;

    /// <summary>Equal for equal stacks; sequences sorted by it have equal stacks side by side, but for a rare collision.</summary>
    public int SortKey { get; }

    public bool Equals(AdapterStack? other) =>
        ReferenceEquals(this, other)
        || (other is not null && SortKey == other.SortKey && _adapters.AsSpan().SequenceEqual(other._adapters.AsSpan()));

    public override bool Equals(object? obj) => Equals(obj as AdapterStack);

    public override int GetHashCode() => SortKey;
}
