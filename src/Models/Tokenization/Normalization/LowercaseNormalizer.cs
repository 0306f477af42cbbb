namespace InferenceServer.Models.Tokenization.Normalization;

/// <summary>Lower case, character by character: a final sigma is like any other.</summary>
internal sealed class LowercaseNormalizer : Normalizer
{
    public override string Normalize(string text)
    {
        // The one character whose lower case is two, which ToLowerInvariant leaves alone.
        return text.ToLowerInvariant().Replace("\u0130", "i\u0307", StringComparison.Ordinal);
    }
}
