namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>Removes up to a number of one character from the beginning and the end of every token.</summary>
/// <param name="content">The character.</param>
/// <param name="start">How many at most at the beginning.</param>
/// <param name="stop">How many at most at the end; so many are held back until the token ends.</param>
/// <param name="next">Where the result goes.</param>
internal sealed class StripStage(char content, int start, int stop, DecodeStage next) : DecodeStage(next)
{
    private int _toStrip;
    private int _held;
    private bool _startsToken;

    public override void Push(string text, bool startsToken)
    {
        if (startsToken)
        {
            // What is still held is the end of the token before: it goes.
            _held = 0;
            _toStrip = start;
            _startsToken = true;
        }

        int from = 0;
        while (_toStrip > 0 && from < text.Length && text[from] == content)
        {
            from++;
            _toStrip--;
        }

        if (from == text.Length)
        {
            return;
        }

        _toStrip = 0;
        Emit(text[from..]);
    }

    private void Emit(string text)
    {
        int trailing = text.Length - text.AsSpan().TrimEnd(content).Length;
        int together = trailing == text.Length ? _held + trailing : trailing;
        int held = Math.Min(together, stop);
        string ready = new string(content, _held) + text;
        ready = ready[..^held];
        _held = held;
        if (ready.Length > 0)
        {
            Next.Push(ready, _startsToken);
            _startsToken = false;
        }
    }
}
