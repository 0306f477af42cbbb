using System.ComponentModel.DataAnnotations;

namespace InferenceServer.AdapterStore.Cache;

/// <summary>Budgets of the adapter cache.</summary>
public sealed class AdapterCacheOptions
{
    /// <summary>Name of the configuration section.</summary>
    public const string SectionName = "AdapterCache";

    /// <summary>Host bytes for parsed adapters (the high-water mark). Default 4 GiB: about a hundred rank-16 adapters of an 8B model.</summary>
    [Range(1, long.MaxValue)]
    public long HostBudgetBytes { get; set; } = 4L << 30;

    /// <summary>Share of the host budget that eviction goes down to, so that not every load evicts. Default 0.9.</summary>
    [Range(0.0, 1.0)]
    public double HostLowWater { get; set; } = 0.9;

    /// <summary>Device bytes for resident adapters. Default 1 GiB.</summary>
    [Range(1, long.MaxValue)]
    public long DeviceBudgetBytes { get; set; } = 1L << 30;

    /// <summary>Adapters read and copied at once. Default 2: one reads while one copies.</summary>
    [Range(1, 64)]
    public int MaxParallelLoads { get; set; } = 2;

    /// <summary>Most adapters that the residency metric names, to bound its series. Default 64.</summary>
    [Range(0, 10_000)]
    public int MaxReportedAdapters { get; set; } = 64;
}
