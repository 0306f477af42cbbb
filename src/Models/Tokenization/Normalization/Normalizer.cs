namespace InferenceServer.Models.Tokenization.Normalization;

/// <summary>Rewrites a piece of text before it is cut into pre-tokens.</summary>
internal abstract class Normalizer
{
    /// <param name="text">Well-formed UTF-16.</param>
    public abstract string Normalize(string text);
}
