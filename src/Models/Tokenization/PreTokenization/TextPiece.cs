namespace InferenceServer.Models.Tokenization.PreTokenization;

/// <summary>A part of a text on its way to become a pre-token.</summary>
/// <param name="Text">The text it is part of.</param>
/// <param name="Start">Its first character there.</param>
/// <param name="Length">Its length, never 0.</param>
/// <param name="IsFirst">Whether it stands at the beginning of the text to encode.</param>
internal readonly record struct TextPiece(string Text, int Start, int Length, bool IsFirst)
{
    public ReadOnlySpan<char> Span => Text.AsSpan(Start, Length);

    public bool StartsWith(char value)
    {
        return Text[Start] == value;
    }

    /// <summary>The same piece with a character before it.</summary>
    public TextPiece Prepend(char value)
    {
        string text = string.Concat([value], Span);
        return new TextPiece(text, 0, text.Length, IsFirst);
    }

    /// <summary>The part from <paramref name="start"/> up to <paramref name="end"/>, both counted inside this piece.</summary>
    public TextPiece Part(int start, int end)
    {
        return new TextPiece(Text, Start + start, end - start, IsFirst && start == 0);
    }
}
