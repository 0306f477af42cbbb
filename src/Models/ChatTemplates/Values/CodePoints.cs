namespace InferenceServer.Models.ChatTemplates.Values;

/// <summary>Python's text is a sequence of code points, .NET's of UTF-16 units: length, items and order by the former.</summary>
internal static class CodePoints
{
    public static bool HasSurrogates(ReadOnlySpan<char> text) => text.IndexOfAnyInRange('\uD800', '\uDFFF') >= 0;

    public static int Count(string text)
    {
        if (!HasSurrogates(text))
        {
            return text.Length;
        }

        int count = 0;
        for (int i = 0; i < text.Length; i += WidthAt(text, i))
        {
            count++;
        }

        return count;
    }

    /// <summary>Each code point as a text of its own; a lone surrogate is one too.</summary>
    public static string[] Split(string text)
    {
        string[] points = new string[Count(text)];
        int at = 0;
        for (int i = 0; i < points.Length; i++)
        {
            int width = WidthAt(text, at);
            points[i] = text.Substring(at, width);
            at += width;
        }

        return points;
    }

    /// <summary>The code point position of a UTF-16 position.</summary>
    public static int PositionOf(string text, int utf16) => Count(text[..utf16]);

    /// <summary>Order by code point: a surrogate pair comes after U+FFFF.</summary>
    public static int Compare(string left, string right)
    {
        int common = left.AsSpan().CommonPrefixLength(right);
        if (common == left.Length || common == right.Length)
        {
            return left.Length.CompareTo(right.Length);
        }

        char a = left[common];
        char b = right[common];
        bool aIsPair = char.IsSurrogate(a);
        return aIsPair == char.IsSurrogate(b) ? a.CompareTo(b) : aIsPair ? 1 : -1;
    }

    private static int WidthAt(string text, int at) =>
        char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]) ? 2 : 1;
}
