using System.Text;

namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>A pattern and what takes the place of its matches, literally.</summary>
internal sealed class Replacement(TextPattern pattern, string? literal, string content)
{
    /// <summary>The pattern looks at single characters, so a text may be handed over in parts.</summary>
    public bool WorksOnParts => literal is { Length: 1 };

    public string Apply(string text)
    {
        if (literal is not null)
        {
            return literal.Length == 0 ? text : text.Replace(literal, content, StringComparison.Ordinal);
        }

        List<TextCut> cuts = [];
        pattern.Cut(text, cuts);
        StringBuilder result = new(text.Length);
        int start = 0;
        foreach (TextCut cut in cuts)
        {
            result.Append(cut.IsMatch ? content : text.AsSpan(start, cut.End - start));
            start = cut.End;
        }

        return result.ToString();
    }
}
