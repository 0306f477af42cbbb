using System.Globalization;
using System.Text;

namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>
/// A text in which each code point beyond the BMP is replaced by one BMP character of its category, with the way back. .NET's regexes
/// work on UTF-16 units and would see two surrogates there, which are in no class of letters.
/// </summary>
internal sealed class AstralMap
{
    public AstralMap(ReadOnlySpan<char> text)
    {
        char[] mapped = new char[text.Length];
        int[] offsets = new int[text.Length + 1];
        int count = 0;
        for (int i = 0; i < text.Length; count++)
        {
            offsets[count] = i;
            if (Rune.DecodeFromUtf16(text[i..], out Rune rune, out int length) == System.Buffers.OperationStatus.Done && length == 2)
            {
                mapped[count] = StandIn(Rune.GetUnicodeCategory(rune));
            }
            else
            {
                mapped[count] = text[i];
            }

            i += length;
        }

        offsets[count] = text.Length;
        Mapped = mapped[..count];
        Offsets = offsets;
    }

    /// <summary>The text with one character per code point.</summary>
    public char[] Mapped { get; }

    /// <summary>Where in the original each character of <see cref="Mapped"/> begins, and the original's length after the last.</summary>
    public int[] Offsets { get; }

    /// <summary>Rare characters, so that a pattern hardly names one of them itself.</summary>
    private static char StandIn(UnicodeCategory category)
    {
        return category switch
        {
            UnicodeCategory.UppercaseLetter => '\uA722',
            UnicodeCategory.LowercaseLetter => '\uA723',
            UnicodeCategory.TitlecaseLetter => '\u1F88',
            UnicodeCategory.ModifierLetter => '\uA717',
            UnicodeCategory.OtherLetter => '\uA48C',
            UnicodeCategory.NonSpacingMark => '\uA825',
            UnicodeCategory.SpacingCombiningMark => '\uA823',
            UnicodeCategory.EnclosingMark => '\uA670',
            UnicodeCategory.DecimalDigitNumber => '\uA8D0',
            UnicodeCategory.LetterNumber => '\uA6E6',
            UnicodeCategory.OtherNumber => '\uA830',
            UnicodeCategory.ConnectorPunctuation => '\uFE4D',
            UnicodeCategory.DashPunctuation => '\u1806',
            UnicodeCategory.OpenPunctuation => '\u2E26',
            UnicodeCategory.ClosePunctuation => '\u2E27',
            UnicodeCategory.InitialQuotePunctuation => '\u2E02',
            UnicodeCategory.FinalQuotePunctuation => '\u2E03',
            UnicodeCategory.OtherPunctuation => '\uA874',
            UnicodeCategory.MathSymbol => '\u29B0',
            UnicodeCategory.CurrencySymbol => '\uA838',
            UnicodeCategory.ModifierSymbol => '\uA700',
            UnicodeCategory.OtherSymbol => '\uA490',
            UnicodeCategory.Format => '\u206A',
            UnicodeCategory.PrivateUse => '\uE000',
            _ => '\uFFFE',
        };
    }
}
