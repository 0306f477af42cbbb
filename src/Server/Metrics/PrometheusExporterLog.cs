namespace InferenceServer.Server.Metrics;

/// <summary>What the exporter logs.</summary>
internal static partial class PrometheusExporterLog
{
    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "Instrument {Instrument} of meter {Meter} is left out: another kind of instrument has the name {Name}")]
    public static partial void NameTaken(this ILogger logger, string instrument, string meter, string name);

    [LoggerMessage(Level = LogLevel.Warning, Message = "An observable instrument failed; the others are exported")]
    public static partial void ObservationFailed(this ILogger logger, Exception exception);
}
