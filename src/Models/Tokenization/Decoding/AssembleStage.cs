using System.Text;

namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>Holds the parts of a token back until it is whole, for a stage that has to see whole tokens.</summary>
internal sealed class AssembleStage(DecodeStage next) : DecodeStage(next)
{
    private readonly StringBuilder _token = new();
    private bool _open;

    public override void Push(string text, bool startsToken)
    {
        if (startsToken)
        {
            HandOn();
        }

        _open = true;
        _token.Append(text);
    }

    public override void Finish()
    {
        HandOn();
        Next.Finish();
    }

    private void HandOn()
    {
        if (_open)
        {
            Next.Push(_token.ToString(), startsToken: true);
            _token.Clear();
            _open = false;
        }
    }
}
