namespace InferenceServer.Models.Tokenization.Normalization;

/// <summary>Puts a text in front, unless there is nothing to put it in front of.</summary>
internal sealed class PrependNormalizer(string prefix) : Normalizer
{
    public override string Normalize(string text)
    {
        return text.Length == 0 ? text : prefix + text;
    }
}
