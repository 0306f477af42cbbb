namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>The pattern of Llama 3 (up to three digits together) and of Qwen 2 and 3 (every digit alone).</summary>
/// <param name="maxDigits">How many numbers stay together.</param>
internal sealed class Llama3Scanner(int maxDigits) : Scanner
{
    public const string ThreeDigitsPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public const string OneDigitPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    protected override int MatchAt(ReadOnlySpan<char> text, int at)
    {
        int contraction = MatchContraction(text, at);
        if (contraction > at)
        {
            return contraction;
        }

        CharClass first = CharClasses.At(text, at, out int length);
        if ((first & CharClass.Letter) != 0)
        {
            return CharClasses.SkipAny(text, at, CharClass.Letter);
        }

        if ((first & CharClass.Number) != 0)
        {
            return NumberRunScanner.MatchNumbers(text, at, maxDigits);
        }

        int next = at + length;
        if ((first & CharClass.LineBreak) == 0 && CharClasses.SkipAny(text, next, CharClass.Letter) is int word && word > next)
        {
            return word;
        }

        int start = text[at] == ' ' ? next : at;
        int symbols = CharClasses.SkipNone(text, start, CharClass.Space | CharClass.Letter | CharClass.Number);
        return symbols > start ? CharClasses.SkipAny(text, symbols, CharClass.LineBreak) : MatchSpaceOrLines(text, at);
    }
}
