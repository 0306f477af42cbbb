using InferenceServer.Models.Tokenization.Patterns;

namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>Replaces every match of a pattern inside a token.</summary>
internal sealed class ReplaceStage(Replacement replacement, DecodeStage next) : DecodeStage(next)
{
    public override void Push(string text, bool startsToken)
    {
        Next.Push(replacement.Apply(text), startsToken);
    }
}
