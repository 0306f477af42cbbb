using System.Text.RegularExpressions;

namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>Any other regular expression, run by .NET over a text in which every code point is one character.</summary>
internal sealed class RegexPattern : TextPattern
{
    /// <summary>A pattern that backtracks without end must fail, not hang.</summary>
    private static readonly TimeSpan s_matchTimeout = TimeSpan.FromSeconds(2);

    private readonly Regex _regex;

    /// <param name="pattern">A pattern in Oniguruma's syntax.</param>
    /// <exception cref="ArgumentException">It is malformed, or uses something that .NET does not have.</exception>
    public RegexPattern(string pattern)
    {
        // In Oniguruma's default (Ruby) syntax ^ and $ stand at every line.
        const RegexOptions Options = RegexOptions.CultureInvariant | RegexOptions.Multiline;
        string translated = RegexTranslator.Translate(pattern);
        try
        {
            _regex = new Regex(translated, Options | RegexOptions.NonBacktracking, s_matchTimeout);
        }
        catch (NotSupportedException)
        {
            // Lookarounds and atomic groups need the backtracking engine.
            _regex = new Regex(translated, Options, s_matchTimeout);
        }
    }

    /// <exception cref="RegexMatchTimeoutException">One match took too long.</exception>
    public override void Cut(ReadOnlySpan<char> text, List<TextCut> output)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            Cut(text, null, text.Length, output);
            return;
        }

        AstralMap map = new(text);
        Cut(map.Mapped, map.Offsets, map.Mapped.Length, output);
    }

    private void Cut(ReadOnlySpan<char> text, int[]? offsets, int length, List<TextCut> output)
    {
        int done = 0;
        foreach (ValueMatch match in _regex.EnumerateMatches(text))
        {
            if (match.Length == 0)
            {
                continue;
            }

            if (match.Index > done)
            {
                output.Add(new TextCut(Original(match.Index), false));
            }

            done = match.Index + match.Length;
            output.Add(new TextCut(Original(done), true));
        }

        if (done < length)
        {
            output.Add(new TextCut(Original(length), false));
        }

        int Original(int index)
        {
            return offsets is null ? index : offsets[index];
        }
    }
}
