using System.Text.Json;
using InferenceServer.Models.Tokenization.Bpe;

namespace InferenceServer.Models.Tokenization.Loading;

/// <summary>Reads <c>model.merges</c>, whose entries are <c>"a b"</c> or <c>["a", "b"]</c>; the merge makes the token <c>ab</c>.</summary>
internal sealed class MergesReader
{
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _ids;
    private readonly string _file;
    private char[] _text = new char[256];

    public MergesReader(Dictionary<string, int> tokens, string file)
    {
        _ids = tokens.GetAlternateLookup<ReadOnlySpan<char>>();
        _file = file;
    }

    public List<ulong> Pairs { get; } = [];

    public List<int> MergedIds { get; } = [];

    /// <summary>Reads the array that <paramref name="reader"/> stands on.</summary>
    public void Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new TokenizerFormatException(_file, "model.merges", $"expected an array, found {reader.TokenType}");
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType == JsonTokenType.String)
            {
                ReadText(reader);
            }
            else
            {
                ReadPair(ref reader);
            }
        }
    }

    private void ReadText(in Utf8JsonReader reader)
    {
        int length = Copy(reader, at: 0);
        Span<char> text = _text.AsSpan(0, length);
        if (text.StartsWith("#version"))
        {
            // The first line of the old merges.txt, carried along by some converters.
            return;
        }

        int space = text.IndexOf(' ');
        if (space < 0 || text[(space + 1)..].Contains(' '))
        {
            throw Error($"expected two tokens with one space between them, found '{text}'");
        }

        int left = Find(text[..space]);
        int right = Find(text[(space + 1)..]);
        text[(space + 1)..].CopyTo(text[space..]);
        Add(left, right, text[..^1]);
    }

    private void ReadPair(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw Error($"expected a string or an array, found {reader.TokenType}");
        }

        int leftLength = ReadPart(ref reader, at: 0);
        int length = leftLength + ReadPart(ref reader, at: leftLength);
        reader.Read();
        if (reader.TokenType != JsonTokenType.EndArray)
        {
            throw Error("expected two strings, found more");
        }

        ReadOnlySpan<char> merged = _text.AsSpan(0, length);
        Add(Find(merged[..leftLength]), Find(merged[leftLength..]), merged);
    }

    private int ReadPart(ref Utf8JsonReader reader, int at)
    {
        reader.Read();
        return reader.TokenType == JsonTokenType.String
            ? Copy(reader, at)
            : throw Error($"expected two strings, found {reader.TokenType}");
    }

    private int Copy(in Utf8JsonReader reader, int at)
    {
        // UTF-16 has never more units than UTF-8, or JSON's escapes, have bytes.
        int needed = at + reader.ValueSpan.Length;
        if (_text.Length < needed)
        {
            Array.Resize(ref _text, needed * 2);
        }

        return reader.CopyString(_text.AsSpan(at));
    }

    private int Find(ReadOnlySpan<char> token)
    {
        return _ids.TryGetValue(token, out int id) ? id : throw Error($"'{token}' is not in model.vocab");
    }

    private void Add(int left, int right, ReadOnlySpan<char> merged)
    {
        int mergedId = Find(merged);
        Pairs.Add(PairRanks.Key(left, right));
        MergedIds.Add(mergedId);
    }

    private TokenizerFormatException Error(string problem)
    {
        return new TokenizerFormatException(_file, $"model.merges[{Pairs.Count}]", problem);
    }
}
