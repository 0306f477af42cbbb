namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>The pattern of GPT-2 and of ByteLevel's own <c>use_regex</c>.</summary>
internal sealed class Gpt2Scanner : Scanner
{
    public const string Pattern = @"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    /// <summary>The same with the first alternative written out, as older files have it.</summary>
    public const string LongPattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    protected override int MatchAt(ReadOnlySpan<char> text, int at)
    {
        if (text[at] == '\'')
        {
            ReadOnlySpan<char> rest = text[(at + 1)..];
            if (rest is ['s' or 'd' or 'm' or 't', ..])
            {
                return at + 2;
            }

            if (rest is ['l', 'l', ..] or ['v', 'e', ..] or ['r', 'e', ..])
            {
                return at + 3;
            }
        }

        int start = text[at] == ' ' && at + 1 < text.Length ? at + 1 : at;
        CharClass next = CharClasses.At(text, start, out _);
        if ((next & CharClass.Space) != 0)
        {
            return MatchSpace(text, at);
        }

        CharClass run = next & (CharClass.Letter | CharClass.Number);
        return run != 0
            ? CharClasses.SkipAny(text, start, run)
            : CharClasses.SkipNone(text, start, CharClass.Space | CharClass.Letter | CharClass.Number);
    }
}
