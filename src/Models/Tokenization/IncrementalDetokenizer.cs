using InferenceServer.Models.Tokenization.Decoding;

namespace InferenceServer.Models.Tokenization;

/// <summary>
/// Turns the ids of one stream into text as they come. Only an incomplete UTF-8 sequence at the end is held back, so everything
/// returned is final, and the time is linear in the ids. One stream, one detokenizer, one caller at a time.
/// </summary>
/// <remarks>
/// The texts together are what <see cref="Tokenizer.Decode"/> gives for all ids, but for one case: where a tokenizer with byte
/// fallback produced a character and then, in the same run of byte tokens, something invalid, Decode replaces the whole run while a
/// stream has already handed the character on. A tokenizer that strips the first space strips that of the first id appended; to have
/// the text continue a prompt, append the prompt's last ids first and leave out what they return.
/// </remarks>
public sealed class IncrementalDetokenizer
{
    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly TextSink _sink = new();
    private DecodeStage _stages;

    /// <param name="tokenizer">The tokenizer that the ids belong to.</param>
    /// <param name="skipSpecialTokens">Leave special tokens out of the text.</param>
    public IncrementalDetokenizer(Tokenizer tokenizer, bool skipSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
        _stages = tokenizer.StartDecoding(_sink, streaming: true);
    }

    /// <summary>Takes the next id and returns the text that it completes, often empty. An unknown id adds nothing.</summary>
    public string Append(int id)
    {
        _tokenizer.PushToken(id, _skipSpecialTokens, _stages);
        return _sink.Take();
    }

    /// <summary>Ends the stream and returns what was held back; an incomplete sequence becomes U+FFFD. The next id begins a new stream.</summary>
    public string Flush()
    {
        _stages.Finish();
        _stages = _tokenizer.StartDecoding(_sink, streaming: true);
        return _sink.Take();
    }
}
