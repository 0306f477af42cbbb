using System.Buffers;
using System.Diagnostics;
using System.Text.RegularExpressions;

namespace InferenceServer.AdapterStore.Import;

/// <summary>
/// Regular expressions out of a config. They are a stranger's: length is capped, and all matches of one config share a time budget,
/// so that a pattern made to backtrack without end costs a bounded time and a clear error.
/// </summary>
internal sealed class ConfigPatterns
{
    private static readonly SearchValues<char> s_plain =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.");

    private readonly AdapterLimits _limits;
    private readonly Dictionary<(Rule Rule, string Pattern), Regex> _compiled = [];
    private readonly Stopwatch _spent = new();

    public ConfigPatterns(AdapterLimits limits)
    {
        _limits = limits;
    }

    private enum Rule
    {
        FullMatch,
        PatternKey,
        LayerNumber,
    }

    /// <summary>Python's <c>re.fullmatch(pattern, text)</c>.</summary>
    public bool IsFullMatch(string field, string pattern, string text) => Match(Rule.FullMatch, field, pattern, text).Success;

    /// <summary>PEFT's rule for rank_pattern and alpha_pattern keys: <c>re.match(r"(.*\.)?(KEY)$", text)</c>.</summary>
    public bool IsPatternKey(string field, string pattern, string text)
    {
        if (pattern.AsSpan().IndexOfAnyExcept(s_plain) >= 0)
        {
            return Match(Rule.PatternKey, field, pattern, text).Success;
        }

        // Nearly every key is a plain path, of which there may be thousands: no regular expression for these. A dot means any character.
        int start = text.Length - pattern.Length;
        if (start < 0 || (start > 0 && text[start - 1] != '.'))
        {
            return false;
        }

        for (int i = 0; i < pattern.Length; i++)
        {
            if (pattern[i] != '.' && pattern[i] != text[start + i])
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The layer number that PEFT reads with <c>re.match(r".*\.PATTERN\.(\d+)\.", text)</c>, or -1.</summary>
    public int LayerNumber(string field, string pattern, string text)
    {
        Match match = Match(Rule.LayerNumber, field, pattern, text);
        return match.Success && int.TryParse(match.Groups["layerNumber"].ValueSpan, out int layer) ? layer : -1;
    }

    private Match Match(Rule rule, string field, string pattern, string text)
    {
        if (!_compiled.TryGetValue((rule, pattern), out Regex? regex))
        {
            regex = Compile(rule, field, pattern);
            _compiled.Add((rule, pattern), regex);
        }

        _spent.Start();
        try
        {
            Match match = regex.Match(text);
            return _spent.Elapsed <= _limits.MaxPatternTime ? match : throw TooSlow(field, pattern, null);
        }
        catch (RegexMatchTimeoutException error)
        {
            throw TooSlow(field, pattern, error);
        }
        finally
        {
            _spent.Stop();
        }
    }

    private Regex Compile(Rule rule, string field, string pattern)
    {
        if (pattern.Length > _limits.MaxPatternLength)
        {
            throw new AdapterFormatException(
                ConfigFields.FileName,
                field,
                $"a regular expression of at most MaxPatternLength {_limits.MaxPatternLength} characters",
                $"{pattern.Length}");
        }

        if (_compiled.Count >= _limits.MaxPatterns)
        {
            throw new AdapterFormatException(
                ConfigFields.FileName, field, $"at most MaxPatterns {_limits.MaxPatterns} regular expressions", "more");
        }

        // Python writes a named group (?P<name>...), .NET (?<name>...).
        string translated = pattern.Replace("(?P<", "(?<", StringComparison.Ordinal);
        try
        {
            // Not NonBacktracking: Python patterns with look-around are common ("every q_proj except the vision tower's").
            return new Regex(
                rule switch
                {
                    Rule.FullMatch => $@"\A(?:{translated})\z",
                    Rule.PatternKey => $@"\A(.*\.)?({translated})$",
                    _ => $@"\A.*\.{translated}\.(?<layerNumber>\d+)\.",
                },
                RegexOptions.CultureInvariant,
                _limits.MaxPatternTime);
        }
        catch (ArgumentException error)
        {
            throw new AdapterFormatException(
                ConfigFields.FileName, field, "a regular expression", AdapterFormatException.Shown(pattern), error);
        }
    }

    private AdapterFormatException TooSlow(string field, string pattern, Exception? inner) => new(
        ConfigFields.FileName,
        field,
        $"regular expressions that match within MaxPatternTime {_limits.MaxPatternTime.TotalSeconds} s",
        AdapterFormatException.Shown(pattern),
        inner);
}
