using System.Text;

namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>The end of the stages: the text.</summary>
internal sealed class TextSink() : DecodeStage(null)
{
    private readonly StringBuilder _text = new();

    public override void Push(string text, bool startsToken)
    {
        _text.Append(text);
    }

    public override void Finish()
    {
    }

    /// <summary>The text since the last call.</summary>
    public string Take()
    {
        if (_text.Length == 0)
        {
            return string.Empty;
        }

        string text = _text.ToString();
        _text.Clear();
        return text;
    }
}
