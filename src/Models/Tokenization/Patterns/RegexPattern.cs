using System.Text.RegularExpressions;

namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>Any other regular expression, run by .NET over a text in which every code point is one character.</summary>
internal sealed class RegexPattern : TextPattern
{
    /// <summary>A pattern that backtracks without end must fail, not hang.</summary>
    private static readonly TimeSpan s_matchTimeout = TimeSpan.FromSeconds(2);

    private readonly string _file;
    private readonly string _field;
    private readonly Regex _regex;

    /// <param name="file">The file that the pattern stands in, for errors.</param>
    /// <param name="field">The field that holds it.</param>
    /// <param name="pattern">A pattern in Oniguruma's syntax.</param>
    /// <exception cref="TokenizerFormatException">It is malformed, or uses something that .NET does not have.</exception>
    public RegexPattern(string file, string field, string pattern)
    {
        _file = file;
        _field = field;
        try
        {
            _regex = Compile(pattern);
        }
        catch (ArgumentException error)
        {
            throw new TokenizerFormatException(file, field, $"'{pattern}' cannot be used: {error.Message}", error);
        }
    }

    /// <exception cref="TokenizerFormatException">One match took too long: the pattern backtracks without end on such a text.</exception>
    public override void Cut(ReadOnlySpan<char> text, List<TextCut> output)
    {
        try
        {
            if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
            {
                Cut(text, null, text.Length, output);
            }
            else
            {
                AstralMap map = new(text);
                Cut(map.Mapped, map.Offsets, map.Mapped.Length, output);
            }
        }
        catch (RegexMatchTimeoutException error)
        {
            throw new TokenizerFormatException(
                _file, _field, $"one match in a text of {text.Length} characters took longer than {s_matchTimeout.TotalSeconds} s", error);
        }
    }

    private static Regex Compile(string pattern)
    {
        // In Oniguruma's default (Ruby) syntax ^ and $ stand at every line.
        const RegexOptions Options = RegexOptions.CultureInvariant | RegexOptions.Multiline;
        string translated = RegexTranslator.Translate(pattern);
        try
        {
            return new Regex(translated, Options | RegexOptions.NonBacktracking, s_matchTimeout);
        }
        catch (NotSupportedException)
        {
            // Lookarounds and atomic groups need the backtracking engine.
            return new Regex(translated, Options, s_matchTimeout);
        }
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
