namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>
/// A well-known regular expression written out by hand, over code points. Each is linear in the text: a failing try at one place looks
/// no further than the next ones skip over.
/// </summary>
internal abstract class Scanner : TextPattern
{
    public sealed override void Cut(ReadOnlySpan<char> text, List<TextCut> output)
    {
        int unmatchedFrom = 0;
        for (int at = 0; at < text.Length;)
        {
            int end = MatchAt(text, at);
            if (end <= at)
            {
                CharClasses.At(text, at, out int length);
                at += length;
                continue;
            }

            if (unmatchedFrom < at)
            {
                output.Add(new TextCut(at, false));
            }

            output.Add(new TextCut(end, true));
            at = unmatchedFrom = end;
        }

        if (unmatchedFrom < text.Length)
        {
            output.Add(new TextCut(text.Length, false));
        }
    }

    /// <summary>The end of the match that begins at <paramref name="at"/>, or <paramref name="at"/> when none does.</summary>
    protected abstract int MatchAt(ReadOnlySpan<char> text, int at);

    /// <summary><c>\s*[\r\n]+|\s+(?!\S)|\s+</c> at white space: up to its last line break, or all but its last character, or all.</summary>
    protected static int MatchSpaceOrLines(ReadOnlySpan<char> text, int at)
    {
        int end = CharClasses.SkipAny(text, at, CharClass.Space);
        int lineBreak = text[at..end].LastIndexOfAny('\r', '\n');
        return lineBreak >= 0 ? at + lineBreak + 1 : LeaveOneSpace(text, at, end);
    }

    /// <summary><c>\s+(?!\S)|\s+</c> at white space.</summary>
    protected static int MatchSpace(ReadOnlySpan<char> text, int at)
    {
        return LeaveOneSpace(text, at, CharClasses.SkipAny(text, at, CharClass.Space));
    }

    /// <summary>
    /// <c>(?i:'s|'t|'re|'ve|'m|'ll|'d)</c>, or <paramref name="at"/>. The long s folds to s: .NET's own case folding has it not.
    /// </summary>
    protected static int MatchContraction(ReadOnlySpan<char> text, int at)
    {
        if (at + 1 >= text.Length || text[at] != '\'')
        {
            return at;
        }

        char first = Fold(text[at + 1]);
        if (first is 's' or 't' or 'm' or 'd')
        {
            return at + 2;
        }

        char second = at + 2 < text.Length ? Fold(text[at + 2]) : '\0';
        return (first, second) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? at + 3 : at;
    }

    private static char Fold(char value)
    {
        return value == '\u017F' ? 's' : char.IsAsciiLetterUpper(value) ? (char)(value | 0x20) : value;
    }

    private static int LeaveOneSpace(ReadOnlySpan<char> text, int at, int end)
    {
        return end < text.Length && end - at > 1 ? end - 1 : end;
    }
}
