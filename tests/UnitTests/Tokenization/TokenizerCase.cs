using System.Text.Json;
using InferenceServer.Models.Tokenization;
using Xunit;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>
/// One recorded case of a tokenizer, in the format that the golden data has: an encoded text (<c>cases</c>), a stream of ids
/// (<c>stream</c>) or ids that no text gives (<c>decode</c>). A field that is absent equals the one it derives from.
/// </summary>
internal static class TokenizerCase
{
    public static void Check(Tokenizer tokenizer, string section, JsonElement one)
    {
        switch (section)
        {
            case "cases":
                CheckText(tokenizer, one);
                break;
            case "stream":
                CheckStream(tokenizer, one);
                break;
            case "decode":
                CheckDecode(tokenizer, one);
                break;
            default:
                throw new ArgumentException($"'{section}' is no section of a tokenizer case", nameof(section));
        }
    }

    private static void CheckText(Tokenizer tokenizer, JsonElement one)
    {
        string text = one.GetProperty("text").GetString()!;

        // Lone surrogates cannot be written in JSON text: such an input is given as its UTF-16 units.
        string input = one.TryGetProperty("u16", out JsonElement units)
            ? string.Concat(units.EnumerateArray().Select(unit => (char)unit.GetInt32()))
            : text;
        int[] ids = Ids(one, "ids");
        int[] withSpecial = one.TryGetProperty("ids_special", out _) ? Ids(one, "ids_special") : ids;
        string decoded = Text(one, "dec", text);
        string skipped = Text(one, "dec_skip", decoded);

        Assert.Equal(ids, tokenizer.EncodeToIds(input, addSpecialTokens: false));
        Assert.Equal(withSpecial, tokenizer.EncodeToIds(input, addSpecialTokens: true));
        Assert.Equal(withSpecial.Length, tokenizer.CountTokens(input));
        Assert.Equal(decoded, tokenizer.Decode(ids));
        Assert.Equal(skipped, tokenizer.Decode(ids, skipSpecialTokens: true));
        Assert.Equal(Text(one, "dec_special", decoded), tokenizer.Decode(withSpecial));
        Assert.Equal(Text(one, "dec_special_skip", skipped), tokenizer.Decode(withSpecial, skipSpecialTokens: true));
    }

    private static void CheckStream(Tokenizer tokenizer, JsonElement one)
    {
        int[] ids = Ids(one, "ids");
        bool hasBytes = one.TryGetProperty("bytes", out JsonElement expected);
        expected = hasBytes ? expected : one.GetProperty("hf");
        IncrementalDetokenizer detokenizer = new(tokenizer, skipSpecialTokens: true);

        List<string> texts = [.. ids.Select(detokenizer.Append)];
        string rest = detokenizer.Flush();

        Assert.Equal(expected.EnumerateArray().Select(text => text.GetString()!), texts);
        Assert.Equal(Text(one, hasBytes ? "bytes_flush" : "hf_flush", string.Empty), rest);
        Assert.Equal(one.GetProperty("final").GetString(), string.Concat(texts) + rest);
        if (one.TryGetProperty("partial", out JsonElement partial))
        {
            int count = 0;
            foreach (JsonElement decoded in partial.EnumerateArray())
            {
                count++;
                Assert.Equal(decoded.GetString(), tokenizer.Decode(ids.Take(count), skipSpecialTokens: true));
            }
        }
    }

    private static void CheckDecode(Tokenizer tokenizer, JsonElement one)
    {
        int[] ids = Ids(one, "ids");
        string decoded = one.GetProperty("dec").GetString()!;

        Assert.Equal(decoded, tokenizer.Decode(ids));
        Assert.Equal(Text(one, "dec_skip", decoded), tokenizer.Decode(ids, skipSpecialTokens: true));
    }

    private static int[] Ids(JsonElement one, string name)
    {
        // Some ids are beyond int on purpose: unknown either way.
        return [.. one.GetProperty(name).EnumerateArray().Select(id => (int)Math.Min(id.GetInt64(), int.MaxValue))];
    }

    private static string Text(JsonElement one, string name, string absent)
    {
        return one.TryGetProperty(name, out JsonElement text) ? text.GetString()! : absent;
    }
}
