using System.Buffers;
using System.Text;

namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>
/// From Oniguruma's regular expressions to .NET's: possessive quantifiers become atomic groups, and what .NET would silently read
/// otherwise (nested classes, class intersections, characters beyond the BMP) is refused. <c>\w</c>, <c>\b</c> and the folding of
/// <c>(?i)</c> stay .NET's, which differ in a few characters.
/// </summary>
internal static class RegexTranslator
{
    private static readonly SearchValues<char> s_repeatCount = SearchValues.Create("0123456789,");

    /// <exception cref="ArgumentException">The pattern uses something that .NET does not have.</exception>
    public static string Translate(string pattern)
    {
        if (pattern.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') >= 0)
        {
            throw new ArgumentException("a character beyond U+FFFF is not supported");
        }

        StringBuilder output = new(pattern.Length + 16);
        Stack<int> groups = new();

        // Where in the output the last thing begins that a quantifier would apply to; -1 when there is none.
        int atom = -1;
        for (int i = 0; i < pattern.Length;)
        {
            char next = pattern[i];
            if (next == '(')
            {
                groups.Push(output.Length);
                output.Append(next);
                atom = -1;
                i++;
            }
            else if (next == ')')
            {
                atom = groups.TryPop(out int open) ? open : -1;
                output.Append(next);
                i++;
            }
            else if (atom >= 0 && QuantifierLength(pattern, i) is int length && length > 0)
            {
                output.Append(pattern, i, length);
                i += length;
                char after = i < pattern.Length ? pattern[i] : '\0';
                bool interval = pattern[i - 1] == '}';
                bool exact = interval && !pattern.AsSpan(i - length, length).Contains(',');
                if (after == '+' && !interval)
                {
                    output.Insert(atom, "(?>").Append(')');
                    i++;
                }
                else if ((after == '+' && interval) || (after == '?' && exact))
                {
                    // In Ruby's syntax x{2}+ repeats x{2}, and x{2}? makes it optional.
                    output.Insert(atom, "(?:").Append(')').Append(after);
                    i++;
                }
                else if (after == '?')
                {
                    output.Append('?');
                    i++;
                }

                atom = -1;
            }
            else
            {
                int end = AtomEnd(pattern, i);
                atom = next == '|' ? -1 : output.Length;
                output.Append(pattern, i, end - i);
                i = end;
            }
        }

        return output.ToString();
    }

    private static int QuantifierLength(string pattern, int at)
    {
        if (pattern[at] is '?' or '*' or '+')
        {
            return 1;
        }

        int close = pattern[at] == '{' ? pattern.IndexOf('}', at) : -1;
        return close > at + 1 && pattern.AsSpan(at + 1, close - at - 1).IndexOfAnyExcept(s_repeatCount) < 0 ? close - at + 1 : 0;
    }

    private static int AtomEnd(string pattern, int at)
    {
        return pattern[at] switch
        {
            '\\' => EscapeEnd(pattern, at),
            '[' => ClassEnd(pattern, at),
            _ => at + 1,
        };
    }

    private static int EscapeEnd(string pattern, int at)
    {
        if (at + 2 < pattern.Length && pattern[at + 1] is 'p' or 'P' && pattern[at + 2] == '{')
        {
            int close = pattern.IndexOf('}', at);
            return close < 0 ? pattern.Length : close + 1;
        }

        return Math.Min(at + 2, pattern.Length);
    }

    private static int ClassEnd(string pattern, int at)
    {
        int i = at + 1;
        if (i < pattern.Length && pattern[i] == '^')
        {
            i++;
        }

        for (bool first = true; i < pattern.Length; first = false)
        {
            if (pattern[i] == ']' && !first)
            {
                return i + 1;
            }

            if (pattern[i] == '[')
            {
                throw new ArgumentException("a class inside a class is not supported");
            }

            if (pattern[i] == '&' && i + 1 < pattern.Length && pattern[i + 1] == '&')
            {
                throw new ArgumentException("an intersection of classes is not supported");
            }

            i = pattern[i] == '\\' ? EscapeEnd(pattern, i) : i + 1;
        }

        return pattern.Length;
    }
}
