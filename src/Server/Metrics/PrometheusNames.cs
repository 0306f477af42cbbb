using System.Collections.Frozen;
using System.Diagnostics.Metrics;

namespace InferenceServer.Server.Metrics;

/// <summary>Names and units of instruments as Prometheus writes them.</summary>
internal static class PrometheusNames
{
    private static readonly FrozenDictionary<string, string> s_units = new Dictionary<string, string>
    {
        ["d"] = "days",
        ["h"] = "hours",
        ["min"] = "minutes",
        ["s"] = "seconds",
        ["ms"] = "milliseconds",
        ["us"] = "microseconds",
        ["ns"] = "nanoseconds",
        ["By"] = "bytes",
        ["KiBy"] = "kibibytes",
        ["MiBy"] = "mebibytes",
        ["GiBy"] = "gibibytes",
        ["Hz"] = "hertz",
        ["W"] = "watts",
        ["J"] = "joules",
        ["Cel"] = "celsius",
        ["%"] = "percent",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private static readonly FrozenDictionary<string, string> s_perUnits = new Dictionary<string, string>
    {
        ["d"] = "per_day",
        ["h"] = "per_hour",
        ["min"] = "per_minute",
        ["s"] = "per_second",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>The metric's name, of a counter without its <c>_total</c>, and the unit that it ends in, if any.</summary>
    public static (string Name, string? Unit) Of(Instrument instrument, PrometheusKind kind)
    {
        string name = PrometheusRuntimeMeter.NameOf(instrument) ?? Sanitize(instrument.Name, colon: true);
        if (kind == PrometheusKind.Counter && name.EndsWith("_total", StringComparison.Ordinal))
        {
            name = name[..^"_total".Length];
        }

        string? unit = Unit(instrument.Unit, kind);
        return unit is null || name.EndsWith("_" + unit, StringComparison.Ordinal) ? (name, unit) : ($"{name}_{unit}", unit);
    }

    public static string Label(string name) => Sanitize(name, colon: false);

    /// <summary>Letters, digits and the underscore stay; every other character becomes an underscore.</summary>
    public static char LabelChar(char c) => char.IsAsciiLetterOrDigit(c) ? c : '_';

    private static string Sanitize(string name, bool colon)
    {
        string clean = string.Concat(name.Select(c => c == ':' && colon ? c : LabelChar(c)));
        return clean.Length == 0 || char.IsAsciiDigit(clean[0]) ? "_" + clean : clean;
    }

    private static string? Unit(string? unit, PrometheusKind kind)
    {
        switch (unit)
        {
            case null or "":
                return null;
            case "1":
                // A gauge without a dimension is a share of one; a count without a dimension is a count.
                return kind == PrometheusKind.Gauge ? "ratio" : null;
        }

        int slash = unit.IndexOf('/', StringComparison.Ordinal);
        string? one = Single(slash < 0 ? unit : unit[..slash]);
        if (slash < 0)
        {
            return one;
        }

        string divisor = unit[(slash + 1)..];
        string per = s_perUnits.GetValueOrDefault(divisor) ?? "per_" + Label(divisor.Trim('{', '}'));
        return one is null ? per : $"{one}_{per}";
    }

    /// <summary>A unit in words; <c>{request}</c> only annotates and is none.</summary>
    private static string? Single(string unit) =>
        unit.StartsWith('{') ? null : s_units.GetValueOrDefault(unit) ?? Label(unit);
}
