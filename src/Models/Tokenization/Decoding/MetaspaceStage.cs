namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>Writes the visible spaces as spaces again; the first token loses its own where one was put in front.</summary>
internal sealed class MetaspaceStage(char replacement, bool prepends, DecodeStage next) : DecodeStage(next)
{
    private int _tokens;

    public override void Push(string text, bool startsToken)
    {
        if (startsToken)
        {
            _tokens++;
        }

        bool removes = prepends && _tokens == 1;
        Next.Push(removes ? text.Replace(replacement.ToString(), null, StringComparison.Ordinal) : text.Replace(replacement, ' '), startsToken);
    }
}
