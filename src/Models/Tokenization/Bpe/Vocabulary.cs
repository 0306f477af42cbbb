using System.Diagnostics.CodeAnalysis;

namespace InferenceServer.Models.Tokenization.Bpe;

/// <summary>Token text to id and back: the model's vocabulary and the added tokens.</summary>
internal sealed class Vocabulary
{
    /// <summary>Ids may leave holes, but the table by id must stay in proportion to the file: see <see cref="AllowedIds"/>.</summary>
    private const int AllowedHoles = 1_000_000;

    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _idsBySpan;
    private readonly string?[] _tokens;

    /// <param name="modelTokens">The vocabulary of the model.</param>
    /// <param name="addedTokens">The added tokens; one may repeat a token of the model, under the same id.</param>
    /// <param name="file">The file both came from, for the error.</param>
    /// <exception cref="TokenizerFormatException">Two tokens share an id, one has two, or an id is out of all proportion.</exception>
    public Vocabulary(IReadOnlyDictionary<string, int> modelTokens, IReadOnlyList<AddedToken> addedTokens, string file)
    {
        _ids = new Dictionary<string, int>(modelTokens, StringComparer.Ordinal);
        foreach (AddedToken added in addedTokens)
        {
            if (!_ids.TryAdd(added.Content, added.Id) && _ids[added.Content] != added.Id)
            {
                throw new TokenizerFormatException(
                    file, "added_tokens", $"'{added.Content}' has the id {added.Id} here and {_ids[added.Content]} elsewhere in the file");
            }
        }

        _idsBySpan = _ids.GetAlternateLookup<ReadOnlySpan<char>>();
        _tokens = TableById(_ids, file);
    }

    /// <summary>The number of tokens.</summary>
    public int Count => _ids.Count;

    /// <summary>All tokens with their ids.</summary>
    public IReadOnlyDictionary<string, int> Tokens => _ids;

    public bool TryGetId(ReadOnlySpan<char> token, out int id)
    {
        return _idsBySpan.TryGetValue(token, out id);
    }

    public bool TryGetToken(int id, [NotNullWhen(true)] out string? token)
    {
        token = (uint)id < (uint)_tokens.Length ? _tokens[id] : null;
        return token is not null;
    }

    private static string?[] TableById(Dictionary<string, int> ids, string file)
    {
        int largest = -1;
        foreach ((string token, int id) in ids)
        {
            if (id < 0 || id >= AllowedIds(ids.Count))
            {
                throw new TokenizerFormatException(
                    file, "model.vocab", $"the id {id} of '{token}' is outside 0..{AllowedIds(ids.Count) - 1}, the range for {ids.Count} tokens");
            }

            largest = Math.Max(largest, id);
        }

        string?[] table = new string?[largest + 1];
        foreach ((string token, int id) in ids)
        {
            if (table[id] is string other)
            {
                throw new TokenizerFormatException(file, "model.vocab", $"'{other}' and '{token}' have the same id {id}");
            }

            table[id] = token;
        }

        return table;
    }

    private static long AllowedIds(int tokens)
    {
        return AllowedHoles + (4L * tokens);
    }
}
