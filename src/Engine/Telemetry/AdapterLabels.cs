using System.Collections.Concurrent;

namespace InferenceServer.Engine.Telemetry;

/// <summary>Names that metrics may carry: the first ones seen, up to a limit, and "_other" (no valid name) for all the rest. A name once
/// given stays.</summary>
internal sealed class AdapterLabels
{
    public const string Other = "_other";
    public const string Base = "base";

    private readonly ConcurrentDictionary<string, KeyValuePair<string, object?>> _labels = new(StringComparer.Ordinal);
    private readonly KeyValuePair<string, object?> _other = new("adapter", Other);
    private readonly KeyValuePair<string, object?> _base = new("adapter", Base);
    private readonly int _limit;
    private int _count;

    public AdapterLabels(int limit) => _limit = limit;

    /// <summary>The tag for an adapter's name; null for the base model.</summary>
    public KeyValuePair<string, object?> For(string? name)
    {
        if (name is null)
        {
            return _base;
        }

        if (_labels.TryGetValue(name, out KeyValuePair<string, object?> label))
        {
            return label;
        }

        if (Interlocked.Increment(ref _count) > _limit)
        {
            Interlocked.Decrement(ref _count);
            return _other;
        }

        if (!_labels.TryAdd(name, new("adapter", name)))
        {
            Interlocked.Decrement(ref _count);
        }

        return _labels[name];
    }
}
