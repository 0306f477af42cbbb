using System.Globalization;

namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>Looks classes up by code point, so that a letter beyond the BMP is a letter (.NET's regexes see two surrogates there).</summary>
internal static class CharClasses
{
    private static readonly CharClass[] s_bmp = BuildBmp();

    /// <summary>The class of the code point at <paramref name="index"/> and the number of UTF-16 units it takes.</summary>
    public static CharClass At(ReadOnlySpan<char> text, int index, out int length)
    {
        char unit = text[index];
        if (char.IsHighSurrogate(unit) && index + 1 < text.Length && char.IsLowSurrogate(text[index + 1]))
        {
            length = 2;
            return Classify(char.ConvertToUtf32(unit, text[index + 1]));
        }

        length = 1;
        return s_bmp[unit];
    }

    /// <summary>The index after the longest run, from <paramref name="index"/> on, of code points that have one of the classes.</summary>
    public static int SkipAny(ReadOnlySpan<char> text, int index, CharClass classes)
    {
        while (index < text.Length && (At(text, index, out int length) & classes) != 0)
        {
            index += length;
        }

        return index;
    }

    /// <summary>The index after the longest run, from <paramref name="index"/> on, of code points that have none of the classes.</summary>
    public static int SkipNone(ReadOnlySpan<char> text, int index, CharClass classes)
    {
        while (index < text.Length && (At(text, index, out int length) & classes) == 0)
        {
            index += length;
        }

        return index;
    }

    private static CharClass[] BuildBmp()
    {
        CharClass[] classes = new CharClass[0x10000];
        for (int value = 0; value < classes.Length; value++)
        {
            classes[value] = Classify(value);
        }

        return classes;
    }

    private static CharClass Classify(int codePoint)
    {
        CharClass basic = CharUnicodeInfo.GetUnicodeCategory(codePoint) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter => CharClass.Letter | CharClass.UpperSide,
            UnicodeCategory.LowercaseLetter => CharClass.Letter | CharClass.LowerSide,
            UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => CharClass.Letter | CharClass.UpperSide | CharClass.LowerSide,
            UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark =>
                CharClass.Mark | CharClass.UpperSide | CharClass.LowerSide,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => CharClass.Number,
            UnicodeCategory.ConnectorPunctuation or UnicodeCategory.DashPunctuation or UnicodeCategory.OpenPunctuation
                or UnicodeCategory.ClosePunctuation or UnicodeCategory.InitialQuotePunctuation or UnicodeCategory.FinalQuotePunctuation
                or UnicodeCategory.OtherPunctuation or UnicodeCategory.MathSymbol or UnicodeCategory.CurrencySymbol
                or UnicodeCategory.ModifierSymbol or UnicodeCategory.OtherSymbol => CharClass.PunctuationOrSymbol,
            _ => CharClass.None,
        };
        if (codePoint is '\r' or '\n')
        {
            basic |= CharClass.LineBreak;
        }

        // No white space lies beyond the BMP.
        return codePoint < 0x10000 && char.IsWhiteSpace((char)codePoint) ? basic | CharClass.Space : basic;
    }
}
