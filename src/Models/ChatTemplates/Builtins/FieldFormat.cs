using System.Globalization;
using System.Numerics;
using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>How one value is written into a format: the part that <c>%</c> and <c>str.format</c> share.</summary>
/// <param name="Align">One of <c>&lt; &gt; ^ =</c>; none leaves it to the type.</param>
/// <param name="Fill">What the width is filled with.</param>
/// <param name="Sign">One of <c>+ -</c> and blank.</param>
/// <param name="Width">The least number of characters.</param>
/// <param name="Precision">Digits after the point, or characters of a text; null when not given.</param>
/// <param name="Groups">Whether thousands are separated by commas.</param>
/// <param name="Type">The letter of the conversion; none leaves it to the value.</param>
internal readonly record struct FieldFormat(char? Align, char Fill, char Sign, int Width, int? Precision, bool Groups, char? Type)
{
    private const int MaxDigits = 100;

    public string Format(RenderBudget budget, object? value)
    {
        bool isNumber = Numbers.IsNumber(value) && Type is not 's';
        string text = isNumber ? NumberText(value!) : PythonText.Str(budget, value);
        if (!isNumber && Type is not (null or 's'))
        {
            throw new ChatTemplateException($"format '{Type}' needs a number, not {PythonTypes.NameOf(value)}");
        }

        text = !isNumber && Precision is int limit && limit < text.Length ? text[..limit] : text;
        int missing = Width - CodePoints.Count(text);
        budget.Allocate(Math.Max(Width, text.Length));
        if (missing <= 0)
        {
            return text;
        }

        switch (Align ?? (isNumber ? '>' : '<'))
        {
            case '<':
                return text + new string(Fill, missing);
            case '^':
                return new string(Fill, missing / 2) + text + new string(Fill, missing - (missing / 2));
            case '=' when text[0] is '-' or '+' or ' ':
                return text[0] + new string(Fill, missing) + text[1..];
            default:
                return new string(Fill, missing) + text;
        }
    }

    private string NumberText(object value)
    {
        string digits = Type switch
        {
            'd' or 'i' => Integer(value).ToString(Groups ? "N0" : "D", CultureInfo.InvariantCulture),
            'x' => Radix(Integer(value), 16),
            'X' => Radix(Integer(value), 16).ToUpperInvariant(),
            'o' => Radix(Integer(value), 8),
            'b' => Radix(Integer(value), 2),
            'f' or 'F' => Fixed(Numbers.ToDouble(value)),
            'e' or 'E' => Exponential(Numbers.ToDouble(value)),
            '%' => Fixed(Numbers.ToDouble(value) * 100) + "%",
            null when value is double number && Precision is not null => General(number),
            'g' or 'G' => General(Numbers.ToDouble(value)),
            null when Groups && Numbers.IsInteger(value) => Integer(value).ToString("N0", CultureInfo.InvariantCulture),
            null when Groups => Fixed(Numbers.ToDouble(value)),
            null => Numbers.ToText(value),
            _ => throw new ChatTemplateException($"unknown format '{Type}'"),
        };
        return digits[0] != '-' && Sign is ('+' or ' ') ? Sign + digits : digits;
    }

    private static BigInteger Integer(object value) => value is double number
        ? double.IsFinite(number) ? new BigInteger(number) : throw new ChatTemplateException("cannot convert float to integer")
        : Numbers.ToBig(value);

    private static string Radix(BigInteger value, int radix)
    {
        string digits = "";
        for (BigInteger rest = BigInteger.Abs(value); !rest.IsZero; rest /= radix)
        {
            digits = "0123456789abcdef"[(int)(rest % radix)] + digits;
        }

        return (value.Sign < 0 ? "-" : "") + (digits.Length == 0 ? "0" : digits);
    }

    private int Digits => Math.Min(Precision ?? 6, MaxDigits);

    private string Fixed(double value) => value.ToString((Groups ? "N" : "F") + Digits, CultureInfo.InvariantCulture);

    private string Exponential(double value)
    {
        string exponent = Digits == 0 ? "0e+00" : "0." + new string('0', Digits) + "e+00";
        return value.ToString(exponent, CultureInfo.InvariantCulture);
    }

    private string General(double value)
    {
        string rounded = value.ToString("E" + (Math.Max(Digits, 1) - 1), CultureInfo.InvariantCulture);
        string text = Numbers.ToText(double.Parse(rounded, CultureInfo.InvariantCulture));
        return Type is 'g' or 'G' && text.EndsWith(".0", StringComparison.Ordinal) ? text[..^2] : text;
    }
}
