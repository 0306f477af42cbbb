using InferenceServer.AdapterStore.Cache;
using InferenceServer.TestKit.Workloads;

namespace InferenceServer.Benchmarks.Load;

/// <summary>What was measured of one spread of adapters, over all rounds.</summary>
internal sealed class PopularityResult
{
    private readonly List<double> _tokensPerSecond = [];
    private readonly List<RequestTiming> _requests = [];

    public PopularityResult(AdapterPopularity popularity) => Popularity = popularity;

    public AdapterPopularity Popularity { get; }

    /// <summary>Generated tokens a second, a number for each round.</summary>
    public IReadOnlyList<double> TokensPerSecond => _tokensPerSecond;

    public long DeviceHits { get; private set; }

    public long HostHits { get; private set; }

    public long DiskLoads { get; private set; }

    public void Add(double tokensPerSecond, RequestTiming[] requests, AdapterCacheStatistics before, AdapterCacheStatistics after)
    {
        _tokensPerSecond.Add(tokensPerSecond);
        _requests.AddRange(requests);
        DeviceHits += after.DeviceHits - before.DeviceHits;
        HostHits += after.HostHits - before.HostHits;
        DiskLoads += after.DiskLoads - before.DiskLoads;
    }

    /// <summary>The number below which <paramref name="share"/> of the requests lie (nearest rank).</summary>
    public double Percentile(Func<RequestTiming, double> of, double share) => Statistics.Percentile(_requests.Select(of), share);
}
