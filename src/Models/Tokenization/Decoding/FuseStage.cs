namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>Makes all tokens one token, for the stages after it.</summary>
internal sealed class FuseStage(DecodeStage next) : DecodeStage(next)
{
    private bool _started;

    public override void Push(string text, bool startsToken)
    {
        Next.Push(text, startsToken: !_started);
        _started = true;
    }
}
