using System.Globalization;
using System.Text;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Python's <c>strftime</c> in the C locale.</summary>
internal static class TimeFormat
{
    public static string Format(DateTimeOffset now, string format)
    {
        StringBuilder text = new();
        for (int at = 0; at < format.Length; at++)
        {
            if (format[at] != '%' || at + 1 == format.Length)
            {
                text.Append(format[at]);
                continue;
            }

            // "%-d" is "%d" without the zero before it.
            bool isBare = format[at + 1] == '-' && at + 2 < format.Length;
            at += isBare ? 2 : 1;
            string part = Part(now, format[at]) ?? (isBare ? "%-" : "%") + format[at];
            string bare = isBare ? part.TrimStart('0', ' ') : part;
            text.Append(isBare && bare.Length == 0 ? "0" : bare);
        }

        return text.ToString();
    }

    private static string? Part(DateTimeOffset now, char directive) => directive switch
    {
        'a' => Net(now, "ddd"),
        'A' => Net(now, "dddd"),
        'b' or 'h' => Net(now, "MMM"),
        'B' => Net(now, "MMMM"),
        'c' => Format(now, "%a %b %e %H:%M:%S %Y"),
        'C' => Number(now.Year / 100),
        'd' => Number(now.Day),
        'D' or 'x' => Format(now, "%m/%d/%y"),
        'e' => now.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
        'f' => Net(now, "ffffff"),
        'F' => Format(now, "%Y-%m-%d"),
        'H' => Number(now.Hour),
        'I' => Number(((now.Hour + 11) % 12) + 1),
        'j' => now.DayOfYear.ToString("D3", CultureInfo.InvariantCulture),
        'm' => Number(now.Month),
        'M' => Number(now.Minute),
        'n' => "\n",
        'p' => now.Hour < 12 ? "AM" : "PM",
        'R' => Format(now, "%H:%M"),
        's' => now.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture),
        'S' => Number(now.Second),
        't' => "\t",
        'T' or 'X' => Format(now, "%H:%M:%S"),
        'u' => (now.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)now.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'U' => Number((now.DayOfYear + 6 - (int)now.DayOfWeek) / 7),
        'V' => Number(ISOWeek.GetWeekOfYear(now.DateTime)),
        'G' => ISOWeek.GetYear(now.DateTime).ToString(CultureInfo.InvariantCulture),
        'w' => ((int)now.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'W' => Number((now.DayOfYear + 6 - (((int)now.DayOfWeek + 6) % 7)) / 7),
        'y' => Number(now.Year % 100),
        'Y' => now.Year.ToString("D4", CultureInfo.InvariantCulture),
        // Python's datetime.now() knows no zone: both are empty.
        'z' or 'Z' => "",
        '%' => "%",
        _ => null,
    };

    private static string Net(DateTimeOffset now, string format) => now.ToString(format, CultureInfo.InvariantCulture);

    private static string Number(int value) => value.ToString("D2", CultureInfo.InvariantCulture);
}
