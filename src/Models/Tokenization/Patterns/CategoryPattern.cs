using System.Text;

namespace InferenceServer.Models.Tokenization.Patterns;

/// <summary>Single characters that satisfy a condition.</summary>
internal sealed class CategoryPattern(Func<Rune, bool> condition) : TextPattern
{
    public override void Cut(ReadOnlySpan<char> text, List<TextCut> output)
    {
        int at = 0;
        bool unmatched = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool isMatch = condition(rune);
            if (isMatch && unmatched)
            {
                output.Add(new TextCut(at, false));
            }

            at += rune.Utf16SequenceLength;
            if (isMatch)
            {
                output.Add(new TextCut(at, true));
            }

            unmatched = !isMatch;
        }

        if (unmatched)
        {
            output.Add(new TextCut(at, false));
        }
    }
}
