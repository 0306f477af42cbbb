using InferenceServer.Models.ChatTemplates.Values;

namespace InferenceServer.Models.ChatTemplates.Builtins;

/// <summary>Python's <c>split</c>, <c>rsplit</c>, <c>splitlines</c> and <c>partition</c>.</summary>
internal static class TextSplitting
{
    public static List<string> Split(string text, string? separator, long limit)
    {
        limit = limit < 0 ? long.MaxValue : limit;
        return separator is null ? SplitAtSpace(text, limit) : SplitAt(text, CheckedSeparator(separator), limit);
    }

    public static List<string> SplitFromEnd(string text, string? separator, long limit)
    {
        limit = limit < 0 ? long.MaxValue : limit;
        return separator is null ? SplitAtSpaceFromEnd(text, limit) : SplitAtFromEnd(text, CheckedSeparator(separator), limit);
    }

    public static List<string> Lines(string text, bool keepEnds)
    {
        List<string> lines = [];
        for (int start = 0; start < text.Length;)
        {
            int end = start;
            while (end < text.Length && !IsLineEnd(text[end]))
            {
                end++;
            }

            int next = end == text.Length ? end : text[end] == '\r' && end + 1 < text.Length && text[end + 1] == '\n' ? end + 2 : end + 1;
            lines.Add(text[start..(keepEnds ? next : end)]);
            start = next;
        }

        return lines;
    }

    public static TemplateSequence Partition(string text, string separator, bool fromEnd)
    {
        CheckedSeparator(separator);
        int at = fromEnd ? text.LastIndexOf(separator, StringComparison.Ordinal) : text.IndexOf(separator, StringComparison.Ordinal);
        if (at < 0)
        {
            return fromEnd ? TemplateSequence.Tuple("", "", text) : TemplateSequence.Tuple(text, "", "");
        }

        return TemplateSequence.Tuple(text[..at], separator, text[(at + separator.Length)..]);
    }

    private static string CheckedSeparator(string separator) =>
        separator.Length > 0 ? separator : throw new ChatTemplateException("empty separator");

    private static bool IsLineEnd(char c) => c is '\n' or '\r' or '\v' or '\f' or '\u0085' or '\u2028' or '\u2029' or (>= '\u001c' and <= '\u001e');

    private static List<string> SplitAt(string text, string separator, long limit)
    {
        List<string> parts = [];
        int start = 0;
        for (int at; parts.Count < limit && (at = text.IndexOf(separator, start, StringComparison.Ordinal)) >= 0; start = at + separator.Length)
        {
            parts.Add(text[start..at]);
        }

        parts.Add(text[start..]);
        return parts;
    }

    private static List<string> SplitAtFromEnd(string text, string separator, long limit)
    {
        List<string> parts = [];
        int end = text.Length;
        for (int at; parts.Count < limit && (at = text.AsSpan(0, end).LastIndexOf(separator)) >= 0; end = at)
        {
            parts.Add(text[(at + separator.Length)..end]);
        }

        parts.Add(text[..end]);
        parts.Reverse();
        return parts;
    }

    private static List<string> SplitAtSpace(string text, long limit)
    {
        List<string> parts = [];
        string rest = PythonText.TrimStart(text);
        int start = 0;
        while (start < rest.Length)
        {
            int end = start;
            while (end < rest.Length && !PythonText.IsSpace(rest[end]))
            {
                end++;
            }

            if (parts.Count == limit)
            {
                parts.Add(rest[start..]);
                return parts;
            }

            parts.Add(rest[start..end]);
            for (start = end; start < rest.Length && PythonText.IsSpace(rest[start]); start++)
            {
            }
        }

        return parts;
    }

    private static List<string> SplitAtSpaceFromEnd(string text, long limit)
    {
        List<string> parts = [];
        string rest = PythonText.TrimEnd(text);
        int end = rest.Length;
        while (end > 0)
        {
            int start = end;
            while (start > 0 && !PythonText.IsSpace(rest[start - 1]))
            {
                start--;
            }

            if (parts.Count == limit)
            {
                parts.Add(rest[..end]);
                break;
            }

            parts.Add(rest[start..end]);
            for (end = start; end > 0 && PythonText.IsSpace(rest[end - 1]); end--)
            {
            }
        }

        parts.Reverse();
        return parts;
    }
}
