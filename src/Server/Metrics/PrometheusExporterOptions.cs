using System.ComponentModel.DataAnnotations;

namespace InferenceServer.Server.Metrics;

/// <summary>What <see cref="PrometheusExporter"/> exports.</summary>
public sealed class PrometheusExporterOptions
{
    public const string SectionName = "Prometheus";

    /// <summary>
    /// The names of the meters, exactly: our own, and for example <c>Microsoft.AspNetCore.Server.Kestrel</c> or <c>System.Runtime</c>.
    /// </summary>
    public IList<string> Meters { get; } = [];

    /// <summary>
    /// The most label sets of one metric (default 1000). Label sets beyond it are added up in one series whose label values are all
    /// <c>other</c>, so that names chosen by clients cannot fill the memory of this process or of Prometheus.
    /// </summary>
    [Range(1, 1_000_000)]
    public int MaxSeriesPerInstrument { get; set; } = 1000;
}
