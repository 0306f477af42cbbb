using System.Globalization;
using System.Numerics;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Filters that give a number or write one.</summary>
internal static class NumberFilters
{
    private static readonly string[] s_units = ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    private static readonly string[] s_binaryUnits = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

    public static IReadOnlyDictionary<string, Method> All { get; } = new Dictionary<string, Method>(StringComparer.Ordinal)
    {
        ["abs"] = new((_, v, _) =>
            v is double number ? Math.Abs(number) : Numbers.Normalize(BigInteger.Abs(Numbers.ToBig(Integer(v, "abs"))))),
        ["int"] = new((c, v, a) => ToInteger(Scanned(c, v), a.Get(0, 0L), a.Integer(1, "int", 10)), "default", "base"),
        ["float"] = new((c, v, a) => ToFloat(Scanned(c, v)) ?? a.Get(0, 0.0), "default"),
        ["round"] = new((_, v, a) => Round(v, a.Integer(0, "round", 0), a.Text(1, "round") ?? "common"), "precision", "method"),
        ["filesizeformat"] = new((c, v, a) => FileSize(Scanned(c, v), a.Flag(0)), "binary"),
    };

    private static object? Scanned(RenderContext context, object? value)
    {
        context.Budget.Scan((value as string)?.Length ?? 0);
        return value;
    }

    private static object Integer(object? value, string filter) => Numbers.IsInteger(value)
        ? value!
        : throw new ChatTemplateException($"bad operand type for {filter}(): '{PythonTypes.NameOf(value)}'");

    private static object? ToInteger(object? value, object? otherwise, long radix)
    {
        switch (value)
        {
            case Undefined undefined:
                return undefined.Fail();
            case double number:
                return double.IsFinite(number) ? Numbers.Normalize(new BigInteger(number)) : otherwise;
            case string text:
                text = StringMethods.Strip(text, null, start: true, end: true).Replace("_", "", StringComparison.Ordinal);
                if (radix == 10 && text.Length <= 4300 && BigInteger.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out BigInteger big))
                {
                    return Numbers.Normalize(big);
                }

                return radix == 16 && TryHexadecimal(text, out long hexadecimal) ? hexadecimal
                    : radix == 10 && ToFloat(text) is double real && double.IsFinite(real) ? Numbers.Normalize(new BigInteger(real)) : otherwise;
            default:
                return Numbers.IsInteger(value) ? Numbers.Normalize(Numbers.ToBig(value!)) : otherwise;
        }
    }

    private static bool TryHexadecimal(string text, out long value)
    {
        string digits = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? text[2..] : text;
        return long.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private static double? ToFloat(object? value)
    {
        (value as Undefined)?.Fail();
        if (Numbers.IsNumber(value))
        {
            return Numbers.ToDouble(value!);
        }

        string? text = value is string given ? StringMethods.Strip(given, null, start: true, end: true).Replace("_", "", StringComparison.Ordinal) : null;
        const NumberStyles style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        return double.TryParse(text, style, CultureInfo.InvariantCulture, out double number) ? number : null;
    }

    private static object Round(object? value, long precision, string method)
    {
        (value as Undefined)?.Fail();
        if (!Numbers.IsNumber(value))
        {
            throw new ChatTemplateException($"type {PythonTypes.NameOf(value)} doesn't define __round__ method");
        }

        double number = Numbers.ToDouble(value!);
        double scale = Math.Pow(10, precision);
        return method switch
        {
            "common" when Numbers.IsInteger(value) && precision >= 0 => Numbers.Normalize(Numbers.ToBig(value!)),
            "common" => RoundToEven(number, precision, scale),
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            _ => throw new ChatTemplateException("method must be common, ceil or floor"),
        };
    }

    /// <summary>Rounds the exact binary value to decimal places; exactly half way goes to the even digit.</summary>
    private static double RoundToEven(double number, long precision, double scale)
    {
        if (!double.IsFinite(number) || precision > 300)
        {
            return number;
        }

        if (precision <= 0)
        {
            return Math.Round(number * scale, MidpointRounding.ToEven) / scale;
        }

        // Half way means that the lowest bit set is worth 2^-(precision + 1).
        double halves = Math.ScaleB(Math.Abs(number), (int)precision + 1);
        string text = number.ToString("F" + precision, CultureInfo.InvariantCulture);
        if (halves == Math.Floor(halves) && halves % 2 == 1)
        {
            string exact = number.ToString("F" + (precision + 1), CultureInfo.InvariantCulture);
            text = (exact[^2] - '0') % 2 == 0 ? exact[..^1] : text;
        }

        return double.Parse(text, CultureInfo.InvariantCulture);
    }

    private static string FileSize(object? value, bool binary)
    {
        double bytes = ToFloat(value) ?? throw new ChatTemplateException($"no size: '{PythonTypes.NameOf(value)}'");
        double step = binary ? 1024 : 1000;
        if (bytes < step)
        {
            return bytes == 1 ? "1 Byte" : Math.Truncate(bytes).ToString("F0", CultureInfo.InvariantCulture) + " Bytes";
        }

        string[] units = binary ? s_binaryUnits : s_units;
        int unit = 0;
        for (bytes /= step; bytes >= step && unit < units.Length - 1; unit++)
        {
            bytes /= step;
        }

        return bytes.ToString("F1", CultureInfo.InvariantCulture) + " " + units[unit];
    }
}
