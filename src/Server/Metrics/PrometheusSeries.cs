namespace InferenceServer.Server.Metrics;

/// <summary>One label set of a metric; its members are guarded by a lock on the series.</summary>
/// <param name="labels">The labels as text.</param>
/// <param name="buckets">The buckets of a histogram with the one up to infinity; zero for other kinds.</param>
/// <param name="isFolded">Whether it stands for many label sets.</param>
internal sealed class PrometheusSeries(string labels, int buckets, bool isFolded)
{
    public string Labels { get; } = labels;

    public bool IsFolded { get; } = isFolded;

    /// <summary>Measurements in each bucket, not cumulative.</summary>
    public long[] Counts { get; } = new long[buckets];

    /// <summary>The value; of a histogram the sum.</summary>
    public double Value { get; set; }

    /// <summary>The collection that last observed it; for observable instruments.</summary>
    public int Collection { get; set; }
}
