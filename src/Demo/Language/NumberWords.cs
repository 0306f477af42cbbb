using System.Globalization;

namespace InferenceServer.Demo.Language;

/// <summary>The numbers from 1 to 99, as they are spoken in English and German and as the Romans wrote them.</summary>
public static class NumberWords
{
    public const int Max = 99;

    private static readonly string[] s_english =
    [
        "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
        "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    ];

    private static readonly string[] s_englishTens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

    private static readonly string[] s_german =
    [
        "", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf", "dreizehn", "vierzehn",
        "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn",
    ];

    private static readonly string[] s_germanTens =
        ["", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"];

    private static readonly string[] s_romanTens = ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"];

    private static readonly string[] s_romanUnits = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"];

    /// <summary>For example <c>forty-two</c>.</summary>
    public static string English(int number)
    {
        Check(number);
        return number < 20
            ? s_english[number]
            : s_englishTens[number / 10] + (number % 10 == 0 ? "" : "-" + s_english[number % 10]);
    }

    /// <summary>For example <c>zweiundvierzig</c>.</summary>
    public static string German(int number)
    {
        Check(number);
        string unit = number % 10 == 1 ? "ein" : s_german[number % 10];
        return number < 20 ? s_german[number] : (number % 10 == 0 ? "" : unit + "und") + s_germanTens[number / 10];
    }

    /// <summary>For example <c>XLII</c>.</summary>
    public static string Roman(int number)
    {
        Check(number);
        return s_romanTens[number / 10] + s_romanUnits[number % 10];
    }

    private static void Check(int number)
    {
        if (number is < 1 or > Max)
        {
            throw new ArgumentOutOfRangeException(
                nameof(number), string.Create(CultureInfo.InvariantCulture, $"{number} is not from 1 to {Max}"));
        }
    }
}
