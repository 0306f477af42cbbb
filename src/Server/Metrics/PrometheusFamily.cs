using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace InferenceServer.Server.Metrics;

/// <summary>One metric with its series, one for each label set up to a limit.</summary>
internal sealed class PrometheusFamily
{
    private const int LabelsOnStack = 512;
    private const int LongestLabels = 16 * 1024;

    /// <summary>In seconds, for durations of requests: what a histogram has whose instrument gives no advice.</summary>
    private static readonly double[] s_defaultBoundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

    private readonly int _maxSeries;
    private readonly ConcurrentDictionary<string, PrometheusSeries> _series = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, PrometheusSeries>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly Lock _gate = new();

    // Written under _gate: the series that are not folded.
    private int _count;
    private int _collection;

    public PrometheusFamily(Instrument instrument, int maxSeries)
    {
        _maxSeries = maxSeries;
        _lookup = _series.GetAlternateLookup<ReadOnlySpan<char>>();
        Kind = KindOf(instrument);
        IsObserved = instrument.IsObservable;
        Help = instrument.Description is { Length: > 0 } help ? help : $"{instrument.Name} of {instrument.Meter.Name}.";
        (Name, Unit) = PrometheusNames.Of(instrument, Kind);
        Boundaries = Kind == PrometheusKind.Histogram ? BoundariesOf(instrument) ?? s_defaultBoundaries : [];
    }

    /// <summary>The name, of a counter without <c>_total</c>.</summary>
    public string Name { get; }

    public string? Unit { get; }

    public string Help { get; }

    public PrometheusKind Kind { get; }

    public bool IsObserved { get; }

    /// <summary>The upper bounds of a histogram's buckets, but for the last.</summary>
    public double[] Boundaries { get; }

    public IReadOnlyList<PrometheusSeries> Series => [.. _series.Values.OrderBy(s => s.Labels, StringComparer.Ordinal)];

    /// <summary>Adds one measurement; allocates nothing for a label set that was there before.</summary>
    public void Record(double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        // One of these would spoil a sum for good.
        if (Kind != PrometheusKind.Gauge && (double.IsNaN(value) || (Kind == PrometheusKind.Counter && value < 0)))
        {
            return;
        }

        PrometheusSeries series = Find(tags);
        lock (series)
        {
            Apply(series, value);
        }
    }

    /// <summary>Before observable instruments are asked.</summary>
    public void BeginCollection() => _collection++;

    /// <summary>After they were asked: what they no longer report is gone.</summary>
    public void EndCollection()
    {
        if (IsObserved)
        {
            Remove(series => series.Collection != _collection);
        }
    }

    /// <summary>Removes the series that a condition holds for; returns how many.</summary>
    public int Remove(Predicate<PrometheusSeries> condition)
    {
        int removed = 0;
        lock (_gate)
        {
            foreach (PrometheusSeries series in _series.Values)
            {
                if (condition(series) && _series.TryRemove(series.Labels, out _))
                {
                    removed++;
                    _count -= series.IsFolded ? 0 : 1;
                }
            }
        }

        return removed;
    }

    private void Apply(PrometheusSeries series, double value)
    {
        if (IsObserved)
        {
            bool adds = series.IsFolded && Kind != PrometheusKind.Gauge && series.Collection == _collection;
            series.Value = adds ? series.Value + value : value;
            series.Collection = _collection;
            return;
        }

        if (Kind == PrometheusKind.Histogram)
        {
            int index = Array.BinarySearch(Boundaries, value);
            series.Counts[index < 0 ? ~index : index]++;
        }

        series.Value = Kind == PrometheusKind.Gauge ? value : series.Value + value;
    }

    private PrometheusSeries Find(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        Span<char> space = stackalloc char[LabelsOnStack];
        if (PrometheusLabels.TryFormat(tags, fold: false, space, out int length))
        {
            return FindOrAdd(space[..length], tags);
        }

        char[] large = ArrayPool<char>.Shared.Rent(LongestLabels);
        try
        {
            return PrometheusLabels.TryFormat(tags, fold: false, large, out length)
                ? FindOrAdd(large.AsSpan(0, length), tags)
                : FindFolded(tags);
        }
        finally
        {
            ArrayPool<char>.Shared.Return(large);
        }
    }

    private PrometheusSeries FindOrAdd(ReadOnlySpan<char> labels, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (_lookup.TryGetValue(labels, out PrometheusSeries? found))
        {
            return found;
        }

        if (Volatile.Read(ref _count) < _maxSeries)
        {
            lock (_gate)
            {
                if (_lookup.TryGetValue(labels, out found))
                {
                    return found;
                }

                if (_count < _maxSeries)
                {
                    _count++;
                    return Add(labels.ToString(), isFolded: false);
                }
            }
        }

        return FindFolded(tags);
    }

    private PrometheusSeries FindFolded(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        // Label names come from code, not from clients: these series are few, and names that do not fit share the one without labels.
        Span<char> space = stackalloc char[LabelsOnStack];
        ReadOnlySpan<char> labels = PrometheusLabels.TryFormat(tags, fold: true, space, out int length) ? space[..length] : [];
        if (_lookup.TryGetValue(labels, out PrometheusSeries? found))
        {
            return found;
        }

        lock (_gate)
        {
            return _lookup.TryGetValue(labels, out found) ? found : Add(labels.ToString(), isFolded: true);
        }
    }

    private PrometheusSeries Add(string labels, bool isFolded)
    {
        PrometheusSeries added = new(labels, Kind == PrometheusKind.Histogram ? Boundaries.Length + 1 : 0, isFolded);
        _series[labels] = added;
        return added;
    }

    private static PrometheusKind KindOf(Instrument instrument)
    {
        if (PrometheusRuntimeMeter.IsGauge(instrument))
        {
            return PrometheusKind.Gauge;
        }

        Type type = instrument.GetType();
        Type? definition = type.IsGenericType ? type.GetGenericTypeDefinition() : null;
        return definition == typeof(Histogram<>) ? PrometheusKind.Histogram
            : definition == typeof(Counter<>) || definition == typeof(ObservableCounter<>) ? PrometheusKind.Counter
            : definition == typeof(UpDownCounter<>) || definition == typeof(ObservableUpDownCounter<>) ? PrometheusKind.UpDown
            : PrometheusKind.Gauge;
    }

    private static double[]? BoundariesOf(Instrument instrument) => instrument switch
    {
        Histogram<double> h => h.Advice?.HistogramBucketBoundaries?.ToArray(),
        Histogram<float> h => h.Advice?.HistogramBucketBoundaries?.Select(b => (double)b).ToArray(),
        Histogram<long> h => h.Advice?.HistogramBucketBoundaries?.Select(b => (double)b).ToArray(),
        Histogram<int> h => h.Advice?.HistogramBucketBoundaries?.Select(b => (double)b).ToArray(),
        _ => null,
    };
}
