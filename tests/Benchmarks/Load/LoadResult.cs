using InferenceServer.AdapterStore.Cache;
using InferenceServer.TestKit.Workloads;

namespace InferenceServer.Benchmarks.Load;

/// <summary>What was measured of one spread of requests over adapters, over all rounds.</summary>
/// <param name="popularity">How they spread.</param>
/// <param name="adapters">The adapters that they spread over.</param>
/// <param name="isMerged">Whether the first adapter is merged meanwhile.</param>
internal sealed class LoadResult(AdapterPopularity popularity, int adapters, bool isMerged = false)
{
    private readonly Dictionary<int, double> _tokensPerSecond = [];
    private readonly List<RequestTiming> _requests = [];

    public AdapterPopularity Popularity { get; } = popularity;

    public int Adapters { get; } = adapters;

    public bool IsMerged { get; } = isMerged;

    /// <summary>What a row is called.</summary>
    public string Name => $"{Popularity}{(IsMerged ? ", one merged" : "")}";

    /// <summary>Rounds that count.</summary>
    public int Rounds => _tokensPerSecond.Count;

    /// <summary>Rounds that do not, because others computed.</summary>
    public int Dropped { get; private set; }

    /// <summary>Generated tokens a second, a number for each round.</summary>
    public IReadOnlyCollection<double> TokensPerSecond => _tokensPerSecond.Values;

    /// <summary>The most cores that others used in a round that counts.</summary>
    public double OtherCores { get; private set; }

    public long DeviceHits { get; private set; }

    public long HostHits { get; private set; }

    public long DiskLoads { get; private set; }

    public void Drop() => Dropped++;

    public void Add(
        int round, double tokensPerSecond, double otherCores, RequestTiming[] requests, AdapterCacheStatistics before, AdapterCacheStatistics after)
    {
        _tokensPerSecond.Add(round, tokensPerSecond);
        _requests.AddRange(requests);
        OtherCores = Math.Max(OtherCores, otherCores);
        DeviceHits += after.DeviceHits - before.DeviceHits;
        HostHits += after.HostHits - before.HostHits;
        DiskLoads += after.DiskLoads - before.DiskLoads;
    }

    /// <summary>Median over the rounds that both have of this one's tokens per second over the other's: the machine is not the same in the next round.</summary>
    public double ShareOf(LoadResult other) => Statistics.Median(
        _tokensPerSecond.Where(round => other._tokensPerSecond.ContainsKey(round.Key)).Select(round => round.Value / other._tokensPerSecond[round.Key]));

    /// <summary>The number that <paramref name="share"/> of the requests do not exceed.</summary>
    public double Percentile(Func<RequestTiming, double> of, double share) => Statistics.Percentile(_requests.Select(of), share);
}
