using System.Globalization;
using System.Text;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>
/// Upper and lower case as Python has them: by code point, with the common letters whose upper case is several letters. The rare
/// ones of Greek and Armenian, and the final sigma, keep the simple mapping.
/// </summary>
internal static class CaseMapping
{
    public static string Upper(string text)
    {
        StringBuilder upper = new(text.Length);
        foreach (char c in text.ToUpperInvariant())
        {
            upper.Append(c switch
            {
                'ß' => "SS",
                'ŉ' => "ʼN",
                'ǰ' => "J\u030c",
                'ﬀ' => "FF",
                'ﬁ' => "FI",
                'ﬂ' => "FL",
                'ﬃ' => "FFI",
                'ﬄ' => "FFL",
                'ﬅ' or 'ﬆ' => "ST",
                _ => null,
            } ?? c.ToString());
        }

        return upper.ToString();
    }

    public static string Lower(string text) => text.ToLowerInvariant().Replace("İ", "i\u0307", StringComparison.Ordinal);

    public static string Capitalize(string text)
    {
        int first = text.Length > 1 && char.IsSurrogatePair(text, 0) ? 2 : Math.Min(1, text.Length);
        return TitleFirst(text[..first]) + Lower(text[first..]);
    }

    /// <summary>Python's <c>str.title</c>: a letter after another one is lower case, every other one upper case.</summary>
    public static string Title(string text)
    {
        StringBuilder title = new(text.Length);
        bool isAfterLetter = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            string one = rune.ToString();
            bool isCased = IsCased(rune);
            title.Append(!isCased ? one : isAfterLetter ? Lower(one) : TitleFirst(one));
            isAfterLetter = isCased;
        }

        return title.ToString();
    }

    public static bool IsCased(Rune rune) => Rune.GetUnicodeCategory(rune) is UnicodeCategory.UppercaseLetter
        or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter;

    /// <summary>Whether there is a cased letter, and none but of the case asked for.</summary>
    public static bool IsAll(string text, bool upper)
    {
        bool any = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (IsCased(rune))
            {
                any = true;
                if (Rune.GetUnicodeCategory(rune) != (upper ? UnicodeCategory.UppercaseLetter : UnicodeCategory.LowercaseLetter))
                {
                    return false;
                }
            }
        }

        return any;
    }

    private static string TitleFirst(string letter) => letter switch
    {
        "ß" => "Ss",
        "ﬁ" => "Fi",
        "ﬂ" => "Fl",
        _ => Upper(letter),
    };
}
