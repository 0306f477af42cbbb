namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>A text that is looked for as it is.</summary>
internal sealed class LiteralPattern(string literal) : TextPattern
{
    public override void Cut(ReadOnlySpan<char> text, List<TextCut> output)
    {
        int done = 0;
        while (literal.Length > 0)
        {
            int found = text[done..].IndexOf(literal, StringComparison.Ordinal);
            if (found < 0)
            {
                break;
            }

            if (found > 0)
            {
                output.Add(new TextCut(done + found, false));
            }

            done += found + literal.Length;
            output.Add(new TextCut(done, true));
        }

        if (done < text.Length)
        {
            output.Add(new TextCut(text.Length, false));
        }
    }
}
