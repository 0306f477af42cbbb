using System.Text;

namespace InferenceServer.Models.Tokenization.Normalization;

/// <summary>One of the four Unicode normalization forms.</summary>
internal sealed class UnicodeNormalizer(NormalizationForm form) : Normalizer
{
    private const char Refused = '\uFFFE';

    /// <summary>Whether this process can normalize at all; under InvariantGlobalization .NET returns the text as it was.</summary>
    public static bool IsAvailable { get; } = "e\u0301".Normalize(NormalizationForm.FormC).Length == 1;

    public override string Normalize(string text)
    {
        // .NET refuses U+FFFE. It composes with nothing, so what stands on its two sides is normalized apart.
        return text.Contains(Refused)
            ? string.Join(Refused, text.Split(Refused).Select(part => part.Normalize(form)))
            : text.Normalize(form);
    }
}
