namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>How tokens become text: a list of steps from which each decoding gets stages of its own. Not changed once it is read.</summary>
internal sealed class TextDecoder
{
    private readonly List<Step> _steps = [];

    /// <summary>Makes one stage in front of the next one; the flag says whether it is for a stream.</summary>
    public delegate DecodeStage MakeStage(DecodeStage next, bool streaming);

    /// <param name="make">Makes the stage.</param>
    /// <param name="needsWholeTokens">It cannot work on parts of a token.</param>
    /// <param name="fuses">What comes out of it is one token, in parts.</param>
    public void Add(MakeStage make, bool needsWholeTokens, bool fuses)
    {
        _steps.Add(new Step(make, needsWholeTokens, fuses));
    }

    /// <summary>New stages that end in <paramref name="sink"/>.</summary>
    public DecodeStage Start(TextSink sink, bool streaming)
    {
        DecodeStage first = sink;
        for (int i = _steps.Count - 1; i >= 0; i--)
        {
            first = _steps[i].Make(first, streaming);
            if (_steps[i].NeedsWholeTokens && _steps.Take(i).Any(before => before.Fuses))
            {
                first = new AssembleStage(first);
            }
        }

        return first;
    }

    private sealed record Step(MakeStage Make, bool NeedsWholeTokens, bool Fuses);
}
