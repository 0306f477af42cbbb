namespace InferenceServer.Models.Tokenization.Normalization;

/// <summary>One normalizer after the other.</summary>
internal sealed class NormalizerSequence(IReadOnlyList<Normalizer> steps) : Normalizer
{
    public override string Normalize(string text)
    {
        foreach (Normalizer step in steps)
        {
            text = step.Normalize(text);
        }

        return text;
    }
}
