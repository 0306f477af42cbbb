using System.Globalization;
using System.Numerics;

namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Python's numbers: bool counts as int, int has no bound of its own (here: one far beyond use), float is binary64.</summary>
internal static class Numbers
{
    private const int MaxIntegerBits = 1 << 14;

    public static bool IsNumber(object? value) => value is bool or long or double or BigInteger;

    public static bool IsInteger(object? value) => value is bool or long or BigInteger;

    public static BigInteger ToBig(object value) => value switch
    {
        bool flag => flag ? BigInteger.One : BigInteger.Zero,
        long number => number,
        _ => (BigInteger)value,
    };

    public static double ToDouble(object value) => value switch
    {
        double number => number,
        long number => number,
        bool flag => flag ? 1 : 0,
        _ => (double)(BigInteger)value,
    };

    /// <summary>The one form each integer has: long when it fits.</summary>
    public static object Normalize(BigInteger value)
    {
        if (value >= long.MinValue && value <= long.MaxValue)
        {
            return (long)value;
        }

        return value.GetBitLength() <= MaxIntegerBits
            ? value
            : throw new ChatTemplateException($"an integer has more than {MaxIntegerBits} bits");
    }

    public static bool TryCompare(object? left, object? right, out int order)
    {
        order = 0;
        if (!IsNumber(left) || !IsNumber(right))
        {
            return false;
        }

        if (left is double || right is double)
        {
            double a = ToDouble(left!);
            double b = ToDouble(right!);
            // NaN equals nothing: any order but 0 says so.
            order = double.IsNaN(a) || double.IsNaN(b) ? 1 : a.CompareTo(b);
            return true;
        }

        order = left is long x && right is long y ? x.CompareTo(y) : ToBig(left!).CompareTo(ToBig(right!));
        return true;
    }

    /// <summary>Python's repr of a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16 on.</summary>
    public static string ToText(double value)
    {
        if (double.IsNaN(value))
        {
            return "nan";
        }

        if (double.IsInfinity(value))
        {
            return value > 0 ? "inf" : "-inf";
        }

        // .NET gives the same shortest digits in another form ("1E+16", "1E-05", "0.001", "100"): take them apart.
        string text = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture);
        int mark = text.IndexOf('E');
        string mantissa = mark < 0 ? text : text[..mark];
        int point = mantissa.IndexOf('.');
        int exponent = (point < 0 ? mantissa.Length : point) - 1;
        string digits = mantissa.Replace(".", "", StringComparison.Ordinal);
        int zeros = digits.Length - digits.TrimStart('0').Length;
        exponent += (mark < 0 ? 0 : int.Parse(text.AsSpan(mark + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture)) - zeros;
        digits = digits.Trim('0');
        string sign = double.IsNegative(value) ? "-" : "";
        if (digits.Length == 0)
        {
            return sign + "0.0";
        }

        if (exponent is < -4 or >= 16)
        {
            string fraction = digits.Length > 1 ? "." + digits[1..] : "";
            return $"{sign}{digits[0]}{fraction}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
        }

        if (exponent < 0)
        {
            return sign + "0." + new string('0', -exponent - 1) + digits;
        }

        digits = digits.PadRight(exponent + 2, '0');
        return sign + digits[..(exponent + 1)] + "." + digits[(exponent + 1)..];
    }

    /// <summary>Python's str of a number.</summary>
    public static string ToText(object number) => number switch
    {
        bool flag => flag ? "True" : "False",
        double value => ToText(value),
        _ => ((IFormattable)number).ToString(null, CultureInfo.InvariantCulture),
    };
}
