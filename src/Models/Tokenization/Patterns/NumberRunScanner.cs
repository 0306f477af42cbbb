namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary><c>\p{N}{1,3}</c></summary>
internal sealed class NumberRunScanner : Scanner
{
    public const string Pattern = @"\p{N}{1,3}";

    /// <summary>The end of up to <paramref name="max"/> numbers at <paramref name="at"/>.</summary>
    public static int MatchNumbers(ReadOnlySpan<char> text, int at, int max)
    {
        for (int count = 0; count < max && at < text.Length; count++)
        {
            if ((CharClasses.At(text, at, out int length) & CharClass.Number) == 0)
            {
                break;
            }

            at += length;
        }

        return at;
    }

    protected override int MatchAt(ReadOnlySpan<char> text, int at)
    {
        return MatchNumbers(text, at, 3);
    }
}
