using System.IO.Compression;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Models.ChatTemplates;
using InferenceServer.Models.Tokenization;
using InferenceServer.TestKit;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.ChatTemplates;

[Trait("Category", "Golden")]
public sealed class GoldenTemplateTests(ITestOutputHelper output)
{
    [GoldenFact]
    public void Real_templates_render_as_Python_does()
    {
        using JsonDocument golden = Read("templates.json");
        JsonElement root = golden.RootElement;
        FixedClock clock = new(root.GetProperty("now").GetString()!);
        Dictionary<string, Action> cases = [];
        foreach (JsonElement one in root.GetProperty("templates").EnumerateArray())
        {
            ChatTemplate template = ChatTemplate.Parse(one.GetProperty("template").GetString()!, timeProvider: clock);
            foreach (JsonProperty expected in one.GetProperty("expected").EnumerateObject())
            {
                if (!expected.Value.TryGetProperty("py_repr", out _))
                {
                    JsonElement input = root.GetProperty("cases").GetProperty(expected.Name);
                    cases.Add(
                        $"{one.GetProperty("name").GetString()} {expected.Name}",
                        () => TemplateCase.Check(expected.Value, () => TemplateCase.Render(template, input, one)));
                }
            }
        }

        GoldenCases.Run(output, "templates.json", [.. cases.Keys], name => cases[name]());
    }

    /// <summary>The cases whose text is Python's repr of a value that templates print by mistake: not asked for, but right as well.</summary>
    [GoldenFact]
    public void Values_that_templates_print_by_mistake_print_as_in_Python()
    {
        using JsonDocument golden = Read("templates.json");
        JsonElement root = golden.RootElement;
        FixedClock clock = new(root.GetProperty("now").GetString()!);
        Dictionary<string, Action> cases = [];
        foreach (JsonElement one in root.GetProperty("templates").EnumerateArray())
        {
            ChatTemplate template = ChatTemplate.Parse(one.GetProperty("template").GetString()!, timeProvider: clock);
            foreach (JsonProperty expected in one.GetProperty("expected").EnumerateObject().Where(e => e.Value.TryGetProperty("py_repr", out _)))
            {
                JsonElement input = root.GetProperty("cases").GetProperty(expected.Name);
                cases.Add(
                    $"{one.GetProperty("name").GetString()} {expected.Name}",
                    () => TemplateCase.Check(expected.Value, () => TemplateCase.Render(template, input, one)));
            }
        }

        GoldenCases.Run(output, "templates.json (repr)", [.. cases.Keys], name => cases[name]());
    }

    [GoldenFact]
    public void Small_templates_render_as_Python_does()
    {
        using JsonDocument golden = Read("jinja_units.json");
        JsonElement root = golden.RootElement;
        FixedClock clock = new(root.GetProperty("now").GetString()!);

        // The file was written by JavaScript, which rounded one integer and wrote 2.0 as 2; the expected texts are of the originals.
        JsonNode context = JsonNode.Parse(root.GetProperty("ctx").GetRawText())!;
        context["big"] = JsonNode.Parse("12345678901234567890");
        context["nest"]!["k"]![1] = JsonNode.Parse("2.0");
        using JsonDocument variables = JsonDocument.Parse(context.ToJsonString());
        Dictionary<string, JsonElement> units = root.GetProperty("units").EnumerateArray().ToDictionary(unit => unit.GetProperty("id").GetString()!);

        GoldenCases.Run(output, "jinja_units.json", [.. units.Keys], id => TemplateCase.Check(
            units[id], () => ChatTemplate.Parse(units[id].GetProperty("template").GetString()!, timeProvider: clock).Render(variables.RootElement)));
    }

    /// <summary>The whole way from messages to ids, for every recorded prompt whose tokenizer is among the data.</summary>
    [GoldenFact]
    public void Conversations_become_the_recorded_ids()
    {
        using JsonDocument golden = Read("templates.json");
        using JsonDocument recorded = Read("e2e.json");
        JsonElement root = golden.RootElement;
        FixedClock clock = new(root.GetProperty("now").GetString()!);
        Dictionary<string, Tokenizer?> tokenizers = [];
        Dictionary<string, Action> cases = [];
        int without = 0;
        foreach (JsonElement one in recorded.RootElement.GetProperty("cases").EnumerateArray())
        {
            string family = one.GetProperty("tokenizer").GetString()!;
            if (!tokenizers.TryGetValue(family, out Tokenizer? tokenizer))
            {
                tokenizer = LoadTokenizer(family);
                tokenizers.Add(family, tokenizer);
            }

            if (tokenizer is null)
            {
                without++;
                continue;
            }

            string name = one.GetProperty("template").GetString()!;
            JsonElement template = root.GetProperty("templates").EnumerateArray().Single(t => t.GetProperty("name").GetString() == name);
            string conversation = one.GetProperty("case").GetString()!;
            cases.Add($"{family} {name} {conversation}", () =>
            {
                ChatTemplate parsed = ChatTemplate.Parse(template.GetProperty("template").GetString()!, timeProvider: clock);
                string prompt = TemplateCase.Render(parsed, root.GetProperty("cases").GetProperty(conversation), template);
                Assert.Equal(one.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()), tokenizer.EncodeToIds(prompt, addSpecialTokens: false));
            });
        }

        output.WriteLine($"{without} prompts belong to a tokenizer that the data has no file of");
        GoldenCases.Run(output, "e2e.json from messages", [.. cases.Keys], name => cases[name]());
    }

    private static Tokenizer? LoadTokenizer(string family)
    {
        string path = Path.Combine(GoldenData.Root!, "tokenizers", "tokenizers", $"{family}.tokenizer.json.gz");
        if (!File.Exists(path))
        {
            return null;
        }

        using GZipStream packed = new(File.OpenRead(path), CompressionMode.Decompress);
        using MemoryStream json = new();
        packed.CopyTo(json);
        return Tokenizer.FromJson(json.ToArray());
    }

    private static JsonDocument Read(string file) =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(GoldenData.Root!, "tokenizers", "golden", file)));
}
