using InferenceServer.Models.Tokenization.Bpe;
using InferenceServer.Models.Tokenization.Normalization;
using InferenceServer.Models.Tokenization.PreTokenization;

namespace InferenceServer.Models.Tokenization;

/// <summary>
/// The way from text to ids: added tokens are cut out, the rest is normalized, cut at the normalized added tokens, then into
/// pre-tokens, and the model makes ids of each. Safe for many callers at once.
/// </summary>
internal sealed class TextEncoder
{
    private readonly AddedTokenMatcher _rawTokens;
    private readonly Normalizer? _normalizer;
    private readonly AddedTokenMatcher? _normalizedTokens;
    private readonly IReadOnlyList<PreTokenizer> _preTokenizers;
    private readonly BpeModel _model;

    public TextEncoder(
        IReadOnlyCollection<AddedToken> added, Normalizer? normalizer, IReadOnlyList<PreTokenizer> preTokenizers, BpeModel model)
    {
        _rawTokens = new AddedTokenMatcher([.. added.Where(token => !token.IsNormalized).Select(token => (token.Content, token))]);
        List<(string, AddedToken)> normalized =
            [.. added.Where(token => token.IsNormalized).Select(token => (normalizer?.Normalize(token.Content) ?? token.Content, token))];
        _normalizedTokens = normalized.Count > 0 ? new AddedTokenMatcher(normalized) : null;
        _normalizer = normalizer;
        _preTokenizers = preTokenizers;
        _model = model;
    }

    /// <summary>Appends the ids of a text.</summary>
    public void Encode(string text, List<int> ids)
    {
        text = WellFormed(text);
        List<AddedTokenSplit> splits = [];
        _rawTokens.Split(text, splits);
        foreach (AddedTokenSplit split in splits)
        {
            if (split.TokenId is int id)
            {
                ids.Add(id);
                continue;
            }

            TextPiece piece = new(text, split.Start, split.End - split.Start, split.Start == 0);
            if (_normalizer is not null)
            {
                string normalized = _normalizer.Normalize(text[split.Start..split.End]);
                piece = new TextPiece(normalized, 0, normalized.Length, piece.IsFirst);
            }

            EncodeNormalized(piece, ids);
        }
    }

    private void EncodeNormalized(TextPiece piece, List<int> ids)
    {
        if (_normalizedTokens is null)
        {
            EncodePiece(piece, ids);
            return;
        }

        List<AddedTokenSplit> splits = [];
        _normalizedTokens.Split(piece.Span, splits);
        foreach (AddedTokenSplit split in splits)
        {
            if (split.TokenId is int id)
            {
                ids.Add(id);
            }
            else
            {
                EncodePiece(piece.Part(split.Start, split.End), ids);
            }
        }
    }

    private void EncodePiece(TextPiece piece, List<int> ids)
    {
        if (piece.Length == 0)
        {
            // A normalizer may leave nothing.
            return;
        }

        List<TextPiece> pieces = [piece];
        foreach (PreTokenizer preTokenizer in _preTokenizers)
        {
            List<TextPiece> parts = [];
            preTokenizer.Split(pieces, parts);
            pieces = parts;
        }

        foreach (TextPiece part in pieces)
        {
            _model.Encode(part.Span, ids);
        }
    }

    private static string WellFormed(string text)
    {
        return text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0 ? text : string.Concat(text.EnumerateRunes());
    }
}
