using System.Collections.Frozen;
using System.Diagnostics.Metrics;

namespace InferenceServer.Server.Metrics;

/// <summary>What is put right of the meter System.Runtime, so that promtool finds nothing to say and rates are rates.</summary>
internal static class PrometheusRuntimeMeter
{
    private const string MeterName = "System.Runtime";

    /// <summary>Gauges whose names end in _count, which belongs to histograms.</summary>
    private static readonly FrozenDictionary<string, string> s_names = new Dictionary<string, string>
    {
        ["dotnet.assembly.count"] = "dotnet_assemblies",
        ["dotnet.process.cpu.count"] = "dotnet_process_cpus",
        ["dotnet.thread_pool.thread.count"] = "dotnet_thread_pool_threads",
        ["dotnet.timer.count"] = "dotnet_timers",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>The name to use instead of the instrument's own, or null.</summary>
    public static string? NameOf(Instrument instrument) =>
        instrument.Meter.Name == MeterName ? s_names.GetValueOrDefault(instrument.Name) : null;

    /// <summary>Whether an instrument calls itself a counter though its value goes up and down.</summary>
    public static bool IsGauge(Instrument instrument) =>
        instrument.Meter.Name == MeterName
        && instrument.Name is "dotnet.thread_pool.thread.count" or "dotnet.thread_pool.queue.length";
}
