using InferenceServer.Models.Tokenization;

namespace InferenceServer.Engine.Streaming;

/// <summary>The text of one generation, token by token: detokenised to continue the prompt, cut at stop strings.</summary>
internal sealed class TextAssembler
{
    // How a tokenizer spaces and joins depends on the tokens before; a few of the prompt's are enough.
    private const int ContextTokens = 6;

    private readonly IncrementalDetokenizer? _detokenizer;
    private readonly StopMatcher _matcher;
    private readonly int _minNewTokens;

    /// <param name="tokenizer">Null gives no text.</param>
    /// <param name="request">Stop strings and wishes.</param>
    public TextAssembler(Tokenizer? tokenizer, PreparedRequest request)
    {
        _matcher = new StopMatcher(request.Stop);
        _minNewTokens = request.MinNewTokens;
        if (tokenizer is null || (request.OmitText && request.Stop.Count == 0))
        {
            return;
        }

        _detokenizer = new IncrementalDetokenizer(tokenizer, !request.KeepSpecialTokens);
        foreach (int token in request.PromptTokens.AsSpan()[^Math.Min(ContextTokens, request.PromptTokens.Length)..])
        {
            _detokenizer.Append(token);
        }
    }

    /// <summary>The stop string found; nothing may be appended after it.</summary>
    public string? StopFound => _matcher.Found;

    /// <summary>Takes a token and returns the text that is certain.</summary>
    /// <param name="token">The token.</param>
    /// <param name="number">Its number among the new tokens, from 1.</param>
    public string Append(int token, int number) =>
        _detokenizer is null ? "" : _matcher.Append(_detokenizer.Append(token), number >= _minNewTokens);

    /// <summary>Ends the text. A character left unfinished may still complete a stop string.</summary>
    public string Flush()
    {
        string last = _detokenizer is null ? "" : _matcher.Append(_detokenizer.Flush());
        return _matcher.Found is null ? last + _matcher.Flush() : last;
    }
}
