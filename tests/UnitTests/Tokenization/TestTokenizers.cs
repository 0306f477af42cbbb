using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.Models.Tokenization;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>Tokenizers for tests: the recorded small ones, and tiny ones written in the test.</summary>
internal static class TestTokenizers
{
    public static string Folder => Path.Combine(AppContext.BaseDirectory, "Data", "tokenizers");

    public static byte[] Bytes(string name)
    {
        return File.ReadAllBytes(Path.Combine(Folder, $"{name}.tokenizer.json"));
    }

    public static Tokenizer Load(string name)
    {
        return Tokenizer.FromJson(Bytes(name));
    }

    public static Tokenizer Build(JsonNode file, string config = "")
    {
        return Tokenizer.FromJson(Encoding.UTF8.GetBytes(file.ToJsonString()), Encoding.UTF8.GetBytes(config));
    }

    /// <summary>A BPE file whose vocabulary is the given tokens, numbered in order.</summary>
    public static JsonObject Tiny(IEnumerable<string> tokens, params string[] merges)
    {
        JsonObject vocabulary = [];
        foreach (string token in tokens)
        {
            vocabulary.Add(token, vocabulary.Count);
        }

        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(),
            ["normalizer"] = null,
            ["pre_tokenizer"] = null,
            ["post_processor"] = null,
            ["decoder"] = JsonNode.Parse("""{"type":"Fuse"}"""),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray([.. merges.Select(merge => (JsonNode)merge)]),
            },
        };
    }

    public static JsonObject AddedToken(int id, string content, params string[] flags)
    {
        JsonObject token = new() { ["id"] = id, ["content"] = content };
        foreach (string flag in (string[])["single_word", "lstrip", "rstrip", "normalized", "special"])
        {
            token[flag] = flags.Contains(flag);
        }

        return token;
    }

    /// <summary>Text of the kinds that break tokenizers: words, digits, spaces, marks, astral letters, emoji, controls.</summary>
    public static string RandomText(Random random, int maxLength)
    {
        string[] alphabet =
        [
            "a", "b", "Z", "é", "ß", "ǅ", "ª", "中", "ね", "\u0301", "\u0903", "𝐛", "𝐀", "𠀀", "😀", "🇩", "0", "7", "½", "𝟏", "Ⅷ", " ", " ", "  ",
            "\n", "\r\n", "\t", "\u00A0", "\u3000", "\u0085", "'", "'s", "'LL", "'re", ".", "!", "_", "/", "€", "©", "\u200D", "\u0001", "\uE000",
            "\u0378", "the", " of", "ING", "<", ">", "|",
        ];
        StringBuilder text = new();
        for (int left = random.Next(maxLength + 1); left > 0; left--)
        {
            text.Append(alphabet[random.Next(alphabet.Length)]);
        }

        return text.ToString();
    }
}
