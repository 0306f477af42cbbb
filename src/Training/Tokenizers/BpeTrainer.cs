using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Models.Tokenization.Bpe;
using InferenceServer.Models.Tokenization.Loading;
using InferenceServer.Models.Tokenization.PreTokenization;

namespace InferenceServer.Training.Tokenizers;

/// <summary>
/// Trains byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909; over bytes as GPT-2): the commonest pair of neighbouring tokens becomes
/// a token, again and again. Among equally common pairs the one with the lower ids is taken, so that the same text gives the same tokens.
/// </summary>
public static class BpeTrainer
{
    /// <summary>Learns the merges of some texts; special tokens in them are plain text here.</summary>
    /// <exception cref="ArgumentException">The recipe does not hold together.</exception>
    public static TrainedTokenizer Train(IEnumerable<string> texts, TokenizerRecipe recipe)
    {
        ArgumentNullException.ThrowIfNull(texts);
        ArgumentNullException.ThrowIfNull(recipe);
        recipe.Check();
        JsonObject preTokenizer = TokenizerJson.PreTokenizer(recipe);
        List<string> tokens = [.. recipe.SpecialTokens];
        int firstByte = tokens.Count;
        for (int value = 0; value < 256; value++)
        {
            tokens.Add(ByteAlphabet.ToChar((byte)value).ToString());
        }

        PairCounts counts = new(Words(texts, preTokenizer).Select(word => (Symbols(word.Key, firstByte), word.Value)));
        List<(int Left, int Right)> merges = [];
        HashSet<string> known = new(tokens, StringComparer.Ordinal);
        while (tokens.Count < recipe.VocabularySize
            && counts.Commonest(recipe.MinPairCount, pair => IsAllowed(tokens[pair.Left] + tokens[pair.Right])) is { } best)
        {
            counts.Merge(best, tokens.Count);
            merges.Add(best);
            known.Add(tokens[best.Left] + tokens[best.Right]);
            tokens.Add(tokens[best.Left] + tokens[best.Right]);
        }

        return new TrainedTokenizer(recipe, tokens, merges);

        // One character of the byte alphabet is one byte. Two ways to the same token would make it ambiguous.
        bool IsAllowed(string merged) => (recipe.MaxTokenBytes == 0 || merged.Length <= recipe.MaxTokenBytes) && !known.Contains(merged);
    }

    /// <summary>How often each piece of the pre-tokenizer is there; a merge never crosses two of them.</summary>
    private static Dictionary<string, long> Words(IEnumerable<string> texts, JsonObject preTokenizer)
    {
        using JsonDocument document = JsonDocument.Parse(preTokenizer.ToJsonString());
        List<PreTokenizer> steps = PreTokenizerReader.Read(new JsonField("tokenizer.json", "pre_tokenizer", document.RootElement), out _);
        Dictionary<string, long> words = new(StringComparer.Ordinal);
        foreach (string text in texts)
        {
            List<TextPiece> pieces = text.Length > 0 ? [new TextPiece(text, 0, text.Length, true)] : [];
            foreach (PreTokenizer step in steps)
            {
                List<TextPiece> parts = [];
                step.Split(pieces, parts);
                pieces = parts;
            }

            foreach (TextPiece piece in pieces)
            {
                string word = piece.Span.ToString();
                words[word] = words.GetValueOrDefault(word) + 1;
            }
        }

        return words;
    }

    private static List<int> Symbols(string word, int firstByte) => [.. Encoding.UTF8.GetBytes(word).Select(value => firstByte + value)];
}
