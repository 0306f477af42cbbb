using System.IO.Compression;
using System.Text.Json;
using InferenceServer.Models.Tokenization;
using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Tokenization;

/// <summary>Real tokenizers against what the reference implementation gave for the same texts and ids.</summary>
[Trait("Category", "Golden")]
public sealed class GoldenTokenizerTests(ITestOutputHelper output)
{
    private static readonly string[] s_sections = ["cases", "stream", "decode"];

    private static string Folder => Path.Combine(GoldenData.Root!, "tokenizers");

    [GoldenFact]
    public void Every_recorded_text_stream_and_id_list_gives_what_was_recorded()
    {
        Dictionary<string, Action> cases = new(StringComparer.Ordinal);
        List<string> withoutTokenizer = [];
        foreach (string path in Directory.GetFiles(Path.Combine(Folder, "golden"), "*.json").Order(StringComparer.Ordinal))
        {
            JsonElement recorded = Read(path);
            if (!recorded.TryGetProperty("vocab_size", out JsonElement size))
            {
                // Chat templates and their rendered prompts, not a tokenizer.
                continue;
            }

            string family = Path.GetFileNameWithoutExtension(path);
            if (TokenizerPath(family) is not string tokenizerPath)
            {
                withoutTokenizer.Add(family);
                continue;
            }

            Lazy<Tokenizer> tokenizer = new(() => Load(tokenizerPath));
            cases.Add($"{family} vocabulary", () => Assert.Equal(size.GetInt32(), tokenizer.Value.VocabularySize));
            foreach (string section in s_sections)
            {
                foreach (JsonElement one in recorded.GetProperty(section).EnumerateArray())
                {
                    cases.Add($"{family} {section} {one.GetProperty("id").GetString()}", () => TokenizerCase.Check(tokenizer.Value, section, one));
                }
            }
        }

        output.WriteLine($"recorded, but the data has no tokenizer file: {string.Join(", ", withoutTokenizer)}");
        Assert.Equal(DocumentedAsAbsent(), withoutTokenizer);
        GoldenCases.Run(output, "tokenizers/golden", [.. cases.Keys], name => cases[name]());
    }

    [GoldenFact]
    public void Every_rendered_chat_prompt_encodes_to_the_recorded_ids()
    {
        JsonElement templates = Read(Path.Combine(Folder, "golden", "templates.json")).GetProperty("templates");
        Dictionary<string, JsonElement> byName = templates.EnumerateArray().ToDictionary(one => one.GetProperty("name").GetString()!);
        Dictionary<string, Lazy<Tokenizer>> tokenizers = new(StringComparer.Ordinal);
        Dictionary<string, Action> cases = new(StringComparer.Ordinal);
        int without = 0;
        foreach (JsonElement one in Read(Path.Combine(Folder, "golden", "e2e.json")).GetProperty("cases").EnumerateArray())
        {
            string family = one.GetProperty("tokenizer").GetString()!;
            string template = one.GetProperty("template").GetString()!;
            string name = one.GetProperty("case").GetString()!;
            if (TokenizerPath(family) is not string path)
            {
                without++;
                continue;
            }

            tokenizers.TryAdd(family, new Lazy<Tokenizer>(() => Load(path)));
            string prompt = byName[template].GetProperty("expected").GetProperty(name).GetProperty("text").GetString()!;
            int[] ids = [.. one.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
            cases.Add(
                $"{family} {template} {name}",
                () => Assert.Equal(ids, tokenizers[family].Value.EncodeToIds(prompt, addSpecialTokens: false)));
        }

        output.WriteLine($"{without} prompts belong to a tokenizer that the data has no file of");
        GoldenCases.Run(output, "tokenizers/golden/e2e", [.. cases.Keys], name => cases[name]());
    }

    /// <summary>The families that manifest.json lists without a packed file: they are left out of the data on purpose.</summary>
    private static List<string> DocumentedAsAbsent()
    {
        return [.. Read(Path.Combine(Folder, "manifest.json")).EnumerateArray()
            .Where(entry => !entry.TryGetProperty("gz_bytes", out _))
            .Select(entry => entry.GetProperty("family").GetString()!)
            .Order(StringComparer.Ordinal)];
    }

    private static string? TokenizerPath(string family)
    {
        string path = family.StartsWith("mini-", StringComparison.Ordinal)
            ? Path.Combine(Folder, "mini", $"{family["mini-".Length..]}.tokenizer.json")
            : Path.Combine(Folder, "tokenizers", $"{family}.tokenizer.json.gz");
        return File.Exists(path) ? path : null;
    }

    private static Tokenizer Load(string path)
    {
        using Stream file = File.OpenRead(path);
        using Stream content = path.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionMode.Decompress) : file;
        using MemoryStream bytes = new();
        content.CopyTo(bytes);
        return Tokenizer.FromJson(bytes.ToArray());
    }

    private static JsonElement Read(string path)
    {
        return JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(path));
    }
}
