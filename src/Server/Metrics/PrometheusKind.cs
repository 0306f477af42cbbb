namespace InferenceServer.Server.Metrics;

/// <summary>How measurements of a metric make its value.</summary>
internal enum PrometheusKind
{
    /// <summary>They add up and never go down.</summary>
    Counter,

    /// <summary>They add up, and may go down.</summary>
    UpDown,

    /// <summary>The last one counts.</summary>
    Gauge,

    Histogram,
}
