namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>Something that is looked for in a text.</summary>
internal abstract class TextPattern
{
    /// <summary>Appends the matches and what lies between them, none of it empty, together the whole text.</summary>
    public abstract void Cut(ReadOnlySpan<char> text, List<TextCut> output);
}
