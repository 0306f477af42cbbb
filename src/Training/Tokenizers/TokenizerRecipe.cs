namespace InferenceServer.Training.Tokenizers;

/// <summary>What tokenizer to train: byte-level BPE, cut as GPT-2 cuts.</summary>
public sealed record TokenizerRecipe
{
    /// <summary>Most tokens: the special ones, the 256 bytes and the merged ones. Fewer when the text has nothing left to merge.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Tokens that text is never merged into, with the first ids in this order.</summary>
    public required IReadOnlyList<string> SpecialTokens { get; init; }

    /// <summary>A pair that is rarer in the text is not merged.</summary>
    public int MinPairCount { get; init; } = 2;

    /// <summary>Bytes of the longest token that is merged; 0 for no limit.</summary>
    public int MaxTokenBytes { get; init; }

    /// <summary>Every digit is a token of its own, so that a number is always spelt alike.</summary>
    public bool SplitsDigits { get; init; }

    /// <summary>The <c>bos_token</c>; one of the special tokens, or null.</summary>
    public string? BeginToken { get; init; }

    /// <summary>The <c>eos_token</c>; one of the special tokens, or null.</summary>
    public string? EndToken { get; init; }

    /// <summary>Special tokens that encoding puts before a plain text (never before a rendered chat).</summary>
    public IReadOnlyList<string> TextPrefix { get; init; } = [];

    /// <summary>Special tokens that encoding puts after a plain text (never after a rendered chat).</summary>
    public IReadOnlyList<string> TextSuffix { get; init; } = [];

    /// <summary>Jinja template of conversations; null for none.</summary>
    public string? ChatTemplate { get; init; }

    /// <exception cref="ArgumentException">A value is out of its range, or a token is not among the special ones.</exception>
    internal void Check()
    {
        int least = SpecialTokens.Count + 256;
        if (VocabularySize < least)
        {
            throw new ArgumentException($"VocabularySize {VocabularySize} is below the {least} of special tokens and bytes");
        }

        if (SpecialTokens.Distinct(StringComparer.Ordinal).Count() != SpecialTokens.Count || SpecialTokens.Contains(""))
        {
            throw new ArgumentException("a special token is empty or there twice");
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(MinPairCount, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(MaxTokenBytes);
        IEnumerable<string?> used = [BeginToken, EndToken, .. TextPrefix, .. TextSuffix];
        if (used.FirstOrDefault(token => token is not null && !SpecialTokens.Contains(token)) is { } other)
        {
            throw new ArgumentException($"'{other}' is not among the special tokens");
        }
    }
}
