namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>A space between tokens: what decoding is where the file names no decoder.</summary>
internal sealed class JoinStage(DecodeStage next) : DecodeStage(next)
{
    private bool _started;

    public override void Push(string text, bool startsToken)
    {
        Next.Push(_started && startsToken ? " " + text : text, startsToken);
        _started = true;
    }
}
