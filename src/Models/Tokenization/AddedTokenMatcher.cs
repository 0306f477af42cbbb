using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace InferenceServer.Models.Tokenization;

/// <summary>Cuts text at added tokens: leftmost first, of those that start together the longest.</summary>
internal sealed class AddedTokenMatcher
{
    private const int Root = 0;

    private readonly Dictionary<(int Node, char Next), int> _edges = [];
    private readonly Dictionary<int, AddedToken> _tokenAt = [];
    private readonly SearchValues<char> _firstChars;

    /// <param name="tokens">The tokens, each with the text to look for (which for a normalized token is not its content).</param>
    public AddedTokenMatcher(IReadOnlyCollection<(string Text, AddedToken Token)> tokens)
    {
        int nodes = 1;
        foreach ((string text, AddedToken token) in tokens)
        {
            int node = Root;
            foreach (char next in text)
            {
                if (!_edges.TryGetValue((node, next), out int child))
                {
                    child = nodes++;
                    _edges.Add((node, next), child);
                }

                node = child;
            }

            if (node != Root)
            {
                _tokenAt[node] = token;
            }
        }

        _firstChars = SearchValues.Create([.. _edges.Keys.Where(edge => edge.Node == Root).Select(edge => edge.Next)]);
    }

    /// <summary>Appends the parts of <paramref name="text"/> in order: added tokens and the text between them, none of it empty.</summary>
    public void Split(ReadOnlySpan<char> text, List<AddedTokenSplit> output)
    {
        int done = 0;
        for (int from = 0; TryFind(text, from, out int start, out int end, out AddedToken? token);)
        {
            from = end;
            if (token.IsSingleWord && (EndsWithWord(text[..start]) || StartsWithWord(text[end..])))
            {
                continue;
            }

            if (token.StripsLeft)
            {
                start = Math.Max(done, text[..start].TrimEnd().Length);
            }

            if (token.StripsRight)
            {
                end = text.Length - text[end..].TrimStart().Length;
            }

            if (done < start)
            {
                output.Add(new AddedTokenSplit(done, start, null));
            }

            output.Add(new AddedTokenSplit(start, end, token.Id));
            done = end;
        }

        if (done < text.Length)
        {
            output.Add(new AddedTokenSplit(done, text.Length, null));
        }
    }

    private bool TryFind(
        ReadOnlySpan<char> text, int from, out int start, out int end, [NotNullWhen(true)] out AddedToken? token)
    {
        for (start = from; start < text.Length; start++)
        {
            int skip = text[start..].IndexOfAny(_firstChars);
            if (skip < 0)
            {
                break;
            }

            start += skip;
            if (TryMatchAt(text, start, out end, out token))
            {
                return true;
            }
        }

        end = start;
        token = null;
        return false;
    }

    private bool TryMatchAt(
        ReadOnlySpan<char> text, int start, out int end, [NotNullWhen(true)] out AddedToken? token)
    {
        token = null;
        end = start;
        int node = Root;
        for (int i = start; i < text.Length && _edges.TryGetValue((node, text[i]), out node); i++)
        {
            if (_tokenAt.TryGetValue(node, out AddedToken? longer))
            {
                token = longer;
                end = i + 1;
            }
        }

        return token is not null;
    }

    private static bool EndsWithWord(ReadOnlySpan<char> text)
    {
        return Rune.DecodeLastFromUtf16(text, out Rune last, out _) == OperationStatus.Done && IsWord(last);
    }

    private static bool StartsWithWord(ReadOnlySpan<char> text)
    {
        return Rune.DecodeFromUtf16(text, out Rune first, out _) == OperationStatus.Done && IsWord(first);
    }

    /// <summary>The <c>\w</c> of UTS 18: alphabetic, marks, decimal digits, connector punctuation, join controls.</summary>
    private static bool IsWord(Rune rune)
    {
        if (rune.Value is 0x200C or 0x200D or (>= 0x24B6 and <= 0x24E9)
            or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189))
        {
            // Joiners, and the circled and squared letters: symbols by category, alphabetic by property.
            return true;
        }

        return Rune.GetUnicodeCategory(rune) is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter
            or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter
            or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark
            or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation;
    }
}
