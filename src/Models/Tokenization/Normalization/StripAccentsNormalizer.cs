using System.Globalization;
using System.Text;

namespace InferenceServer.Models.Tokenization.Normalization;

/// <summary>Removes the nonspacing marks (after a decomposing form: the accents).</summary>
internal sealed class StripAccentsNormalizer : Normalizer
{
    public override string Normalize(string text)
    {
        StringBuilder kept = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (Rune.GetUnicodeCategory(rune) != UnicodeCategory.NonSpacingMark)
            {
                kept.Append(rune.ToString());
            }
        }

        return kept.ToString();
    }
}
