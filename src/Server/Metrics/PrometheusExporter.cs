using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;

namespace InferenceServer.Server.Metrics;

/// <summary>Collects what meters measure from its construction on, and writes it as Prometheus's text format or as OpenMetrics.</summary>
/// <remarks>
/// A counter's name ends in <c>_total</c>, units are suffixes (<c>_seconds</c>), histograms take the boundaries of their instrument's
/// advice. Series of observable instruments that are no longer reported vanish; those of other instruments stay until
/// <see cref="Drop"/>. Not there: exemplars, timestamps, the tags of meters and of instruments, summaries.
/// </remarks>
public sealed class PrometheusExporter : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<string, PrometheusFamily> _families = new(StringComparer.Ordinal);
    private readonly PrometheusExporterOptions _options;
    private readonly IMeterFactory? _factory;
    private readonly ILogger _logger;
    private readonly Lock _collecting = new();

    /// <param name="options">Which meters, and how many series.</param>
    /// <param name="factory">When given, meters of another factory (another host in this process) are left out.</param>
    /// <param name="logger">Where instruments that cannot be exported are named.</param>
    public PrometheusExporter(PrometheusExporterOptions options, IMeterFactory? factory = null, ILogger<PrometheusExporter>? logger = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _factory = factory;
        _logger = logger ?? NullLogger<PrometheusExporter>.Instance;
        _listener.InstrumentPublished = Publish;
        _listener.SetMeasurementEventCallback<double>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<float>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<long>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<int>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<short>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<byte>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<decimal>(static (_, value, tags, family) => Record(family, (double)value, tags));
        _listener.Start();
    }

    /// <summary>Asks the observable instruments and writes all metrics, in the order of their names.</summary>
    /// <param name="openMetrics">OpenMetrics 1.0.0 instead of Prometheus's text format 0.0.4.</param>
    public string Write(bool openMetrics)
    {
        PrometheusFamily[] families;
        lock (_collecting)
        {
            families = [.. _families.Values.OrderBy(f => f.Name, StringComparer.Ordinal)];
            Observe(families);
        }

        StringBuilder text = new();
        foreach (PrometheusFamily family in families)
        {
            PrometheusText.Append(text, family, openMetrics);
        }

        return openMetrics ? text.Append("# EOF\n").ToString() : text.ToString();
    }

    /// <summary>
    /// Forgets every series that has a label with this value, in all metrics: for what is gone for good, such as an adapter that was
    /// deleted. A measurement that comes later begins a new series at zero.
    /// </summary>
    /// <param name="label">The tag's name as the instruments give it, as in <c>adapter</c>.</param>
    /// <param name="value">The tag's value.</param>
    /// <returns>How many series there were.</returns>
    public int Drop(string label, string value)
    {
        ArgumentException.ThrowIfNullOrEmpty(label);
        ArgumentException.ThrowIfNullOrEmpty(value);
        return _families.Values.Sum(family => family.Remove(series => PrometheusLabels.Contains(series.Labels, label, value)));
    }

    public void Dispose() => _listener.Dispose();

    private static void Record(object? family, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        ((PrometheusFamily)family!).Record(value, tags);

    private void Publish(Instrument instrument, MeterListener listener)
    {
        Meter meter = instrument.Meter;
        bool isForeign = _factory is not null && meter.Scope is not null && !ReferenceEquals(meter.Scope, _factory);
        if (isForeign || !_options.Meters.Contains(meter.Name))
        {
            return;
        }

        // Two meters of one name share their metrics.
        PrometheusFamily added = new(instrument, _options.MaxSeriesPerInstrument);
        PrometheusFamily family = _families.GetOrAdd(added.Name, added);
        if (family.Kind == added.Kind && family.IsObserved == added.IsObserved)
        {
            listener.EnableMeasurementEvents(instrument, family);
        }
        else
        {
            _logger.NameTaken(instrument.Name, meter.Name, family.Name);
        }
    }

    private void Observe(PrometheusFamily[] families)
    {
        foreach (PrometheusFamily family in families)
        {
            family.BeginCollection();
        }

        try
        {
            _listener.RecordObservableInstruments();
        }
        catch (AggregateException e)
        {
            // Thrown after all instruments were asked.
            _logger.ObservationFailed(e);
        }

        foreach (PrometheusFamily family in families)
        {
            family.EndCollection();
        }
    }
}
