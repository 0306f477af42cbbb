using InferenceServer.Models.Tokenization.Patterns;

namespace InferenceServer.Models.Tokenization.Normalization;

/// <summary>Replaces every match of a pattern.</summary>
internal sealed class ReplaceNormalizer(Replacement replacement) : Normalizer
{
    public override string Normalize(string text)
    {
        return replacement.Apply(text);
    }
}
