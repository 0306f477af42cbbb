using System.Globalization;
using System.Text;

namespace InferenceServer.Server.Metrics;

/// <summary>Writes metrics as text: Prometheus's format 0.0.4, or OpenMetrics 1.0.0.</summary>
internal static class PrometheusText
{
    /// <summary>Adds a metric with its TYPE, UNIT and HELP lines; nothing for one without series.</summary>
    public static void Append(StringBuilder text, PrometheusFamily family, bool openMetrics)
    {
        IReadOnlyList<PrometheusSeries> all = family.Series;
        if (all.Count == 0)
        {
            return;
        }

        bool counter = family.Kind == PrometheusKind.Counter;
        string sample = counter ? family.Name + "_total" : family.Name;

        // OpenMetrics names a counter without its _total, the older format with it.
        string name = openMetrics ? family.Name : sample;
        string type = family.Kind switch
        {
            PrometheusKind.Counter => "counter",
            PrometheusKind.Histogram => "histogram",
            _ => "gauge",
        };
        text.Append("# TYPE ").Append(name).Append(' ').Append(type).Append('\n');
        if (openMetrics && family.Unit is not null)
        {
            text.Append("# UNIT ").Append(name).Append(' ').Append(family.Unit).Append('\n');
        }

        text.Append("# HELP ").Append(name).Append(' ').Append(Escape(family.Help, openMetrics)).Append('\n');
        foreach (PrometheusSeries series in all)
        {
            lock (series)
            {
                if (family.Kind == PrometheusKind.Histogram)
                {
                    AppendHistogram(text, family, series, openMetrics);
                }
                else
                {
                    AppendSample(text, sample, series.Labels, series.Value);
                }
            }
        }
    }

    private static void AppendHistogram(StringBuilder text, PrometheusFamily family, PrometheusSeries series, bool openMetrics)
    {
        string comma = series.Labels.Length == 0 ? "" : ",";
        long count = 0;
        for (int i = 0; i < series.Counts.Length; i++)
        {
            count += series.Counts[i];
            string bound = i < family.Boundaries.Length ? Bound(family.Boundaries[i], openMetrics) : "+Inf";
            AppendSample(text, family.Name + "_bucket", $"{series.Labels}{comma}le=\"{bound}\"", count);
        }

        AppendSample(text, family.Name + "_sum", series.Labels, series.Value);
        AppendSample(text, family.Name + "_count", series.Labels, count);
    }

    private static void AppendSample(StringBuilder text, string name, string labels, double value)
    {
        text.Append(name);
        if (labels.Length > 0)
        {
            text.Append('{').Append(labels).Append('}');
        }

        text.Append(' ').Append(Number(value)).Append('\n');
    }

    private static string Escape(string help, bool openMetrics)
    {
        string escaped = help.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
        return openMetrics ? escaped.Replace("\"", "\\\"", StringComparison.Ordinal) : escaped;
    }

    /// <summary>A bucket's bound; OpenMetrics wants its floats to look like floats.</summary>
    private static string Bound(double value, bool openMetrics)
    {
        string number = Number(value);
        return openMetrics && double.IsInteger(value) && !number.Contains('E', StringComparison.Ordinal) ? number + ".0" : number;
    }

    private static string Number(double value) => value switch
    {
        double.PositiveInfinity => "+Inf",
        double.NegativeInfinity => "-Inf",
        _ => value.ToString("R", CultureInfo.InvariantCulture),
    };
}
