namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>The pattern of o200k (GPT-4o, gpt-oss): words split where lower case turns to upper, contractions stay with their word.</summary>
internal sealed class O200kScanner : Scanner
{
    public const string Pattern =
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        + @"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        + @"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    protected override int MatchAt(ReadOnlySpan<char> text, int at)
    {
        CharClass first = CharClasses.At(text, at, out int length);
        if ((first & CharClass.Number) != 0)
        {
            return NumberRunScanner.MatchNumbers(text, at, 3);
        }

        int next = at + length;
        bool mayLead = (first & (CharClass.LineBreak | CharClass.Letter)) == 0;
        int word = MatchWord(text, at, mayLead ? next : at);
        if (word > at)
        {
            return MatchContraction(text, word);
        }

        int start = text[at] == ' ' ? next : at;
        int symbols = CharClasses.SkipNone(text, start, CharClass.Space | CharClass.Letter | CharClass.Number);
        if (symbols == start)
        {
            return MatchSpaceOrLines(text, at);
        }

        while (symbols < text.Length && text[symbols] is '\r' or '\n' or '/')
        {
            symbols++;
        }

        return symbols;
    }

    /// <summary>The first two alternatives without their contraction: with the leading character, without it, then in capitals.</summary>
    private static int MatchWord(ReadOnlySpan<char> text, int at, int afterLead)
    {
        int end = MatchEndingLower(text, afterLead);
        if (end == afterLead && afterLead > at)
        {
            // Only a mark can both lead and be part of the word.
            int withoutLead = MatchEndingLower(text, at);
            if (withoutLead > at)
            {
                return withoutLead;
            }
        }

        if (end == afterLead)
        {
            end = CharClasses.SkipAny(text, afterLead, CharClass.UpperSide);
        }

        return end > afterLead ? end : at;
    }

    /// <summary><c>[upper side]*[lower side]+</c>, or <paramref name="at"/>.</summary>
    private static int MatchEndingLower(ReadOnlySpan<char> text, int at)
    {
        int upper = at;
        int lastOnBothSides = at;
        while (upper < text.Length)
        {
            CharClass here = CharClasses.At(text, upper, out int length);
            if ((here & CharClass.UpperSide) == 0)
            {
                break;
            }

            upper += length;
            lastOnBothSides = (here & CharClass.LowerSide) != 0 ? upper : lastOnBothSides;
        }

        int lower = CharClasses.SkipAny(text, upper, CharClass.LowerSide);

        // Without a lower case letter after the capitals, the last of them that is on both sides has to be it.
        return lower > upper ? lower : lastOnBothSides;
    }
}
