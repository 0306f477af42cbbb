namespace InferenceServer.Models.Tokenization.Decoding;

/// <summary>
/// One step from tokens to text, fed token by token. The same stages decode a whole list and a stream, so both give the same text.
/// Not for several callers at once.
/// </summary>
/// <param name="next">Where the result goes.</param>
internal abstract class DecodeStage(DecodeStage? next)
{
    protected DecodeStage Next => next ?? throw new InvalidOperationException("the last stage has no next one");

    /// <param name="text">A token, or a part of one.</param>
    /// <param name="startsToken">Whether the text begins a token, or continues the one before.</param>
    public abstract void Push(string text, bool startsToken);

    /// <summary>Hands on what was held back. Nothing is pushed afterwards.</summary>
    public virtual void Finish()
    {
        Next.Finish();
    }
}
