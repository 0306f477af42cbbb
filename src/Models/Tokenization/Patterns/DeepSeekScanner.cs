namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>The main pattern of DeepSeek V3. It leaves numbers and control characters unmatched unless a word follows them.</summary>
internal sealed class DeepSeekScanner : Scanner
{
    public const string Pattern =
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
        + "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

    private const CharClass Word = CharClass.Letter | CharClass.Mark;

    protected override int MatchAt(ReadOnlySpan<char> text, int at)
    {
        CharClass first = CharClasses.At(text, at, out int length);
        int next = at + length;
        if ((first & CharClass.PunctuationOrSymbol) != 0 && text[at] < 0x80 && next < text.Length && char.IsAsciiLetter(text[next]))
        {
            int end = next;
            while (end < text.Length && char.IsAsciiLetter(text[end]))
            {
                end++;
            }

            return end;
        }

        // A mark may be the optional first character as well as part of the word: both ways give the same run.
        int wordFrom = (first & (CharClass.LineBreak | CharClass.Letter | CharClass.PunctuationOrSymbol)) == 0 ? next : at;
        int word = CharClasses.SkipAny(text, wordFrom, Word);
        if (word > wordFrom)
        {
            return word;
        }

        if ((first & Word) != 0)
        {
            return next;
        }

        int start = text[at] == ' ' ? next : at;
        int symbols = CharClasses.SkipAny(text, start, CharClass.PunctuationOrSymbol);
        if (symbols > start)
        {
            return CharClasses.SkipAny(text, symbols, CharClass.LineBreak);
        }

        return (first & CharClass.Space) != 0 ? MatchSpaceOrLines(text, at) : at;
    }
}
