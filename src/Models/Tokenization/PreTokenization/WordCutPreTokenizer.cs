using System.Buffers;
using InferenceServer.Models.Tokenization.Bpe;

namespace InferenceServer.Models.Tokenization.PreTokenization;

/// <summary>
/// Cuts before the space of sentencepiece where no merge can join it to the character before. It changes no id: it keeps a tokenizer
/// that has no pre-tokenizer from merging a whole prompt as one piece, and lets its words be cached.
/// </summary>
internal sealed class WordCutPreTokenizer : PreTokenizer
{
    private const char Space = '\u2581';
    private const int ByteTokenLength = 6;

    /// <summary>The characters that some merge joins to a space after them, and the space itself.</summary>
    private readonly SearchValues<char> _joined;

    private WordCutPreTokenizer(HashSet<char> joined)
    {
        _joined = SearchValues.Create([.. joined]);
    }

    /// <summary>The pre-tokenizer for a model, or null where cutting might change what it gives.</summary>
    public static WordCutPreTokenizer? For(Vocabulary vocabulary, IEnumerable<int> mergedIds, BpeOptions options)
    {
        if (options.MapsBytes || options.IgnoreMerges || !vocabulary.TryGetId([Space], out _))
        {
            return null;
        }

        string? unknown = options.UnknownId is int id && vocabulary.TryGetToken(id, out string? token) ? token : null;
        HashSet<char> joined = [Space];
        foreach (int mergedId in mergedIds)
        {
            ReadOnlySpan<char> merged = vocabulary.TryGetToken(mergedId, out string? text) ? text : default;
            for (int at = merged.LastIndexOf(Space); at > 0; at = merged[..at].LastIndexOf(Space))
            {
                if (StandsForOtherText(merged[..at], unknown))
                {
                    return null;
                }

                joined.Add(merged[at - 1]);
            }
        }

        return new WordCutPreTokenizer(joined);
    }

    public override void Split(IReadOnlyList<TextPiece> pieces, List<TextPiece> output)
    {
        foreach (TextPiece piece in pieces)
        {
            ReadOnlySpan<char> text = piece.Span;
            int start = 0;
            for (int at = 1; at < text.Length; at++)
            {
                int skip = text[at..].IndexOf(Space);
                if (skip < 0)
                {
                    break;
                }

                at += skip;
                if (!_joined.Contains(text[at - 1]))
                {
                    output.Add(piece.Part(start, at));
                    start = at;
                }
            }

            output.Add(piece.Part(start, text.Length));
        }
    }

    /// <summary>The merge joins a space to a byte token or the unknown token, whose last character is not the one in the text.</summary>
    private static bool StandsForOtherText(ReadOnlySpan<char> beforeSpace, string? unknown)
    {
        return (unknown is not null && beforeSpace.EndsWith(unknown))
            || (beforeSpace.Length >= ByteTokenLength && beforeSpace[^ByteTokenLength..].StartsWith("<0x"));
    }
}
