using System.Text.Json;

namespace InferenceServer.Models.ChatTemplates;

/// <summary>The files of a model folder that hold chat templates and special tokens.</summary>
internal sealed class ChatTemplateFolder(string folder)
{
    private const string ConfigFile = "tokenizer_config.json";
    private const string TokensFile = "special_tokens_map.json";
    private const string TemplateFile = "chat_template.jinja";
    private const string TemplateJsonFile = "chat_template.json";
    private const string MoreTemplatesFolder = "additional_chat_templates";

    private static readonly string[] s_tokenNames =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    /// <summary>The texts of all templates. The first of the three places that has one counts.</summary>
    public IReadOnlyList<Source> ReadSources()
    {
        string single = Path.Combine(folder, TemplateFile);
        if (File.Exists(single))
        {
            string more = Path.Combine(folder, MoreTemplatesFolder);
            string[] others = Directory.Exists(more) ? Directory.GetFiles(more, "*.jinja") : [];
            return
            [
                new Source(single, ChatTemplateSet.DefaultName, File.ReadAllText(single)),
                .. others.Order(StringComparer.Ordinal).Select(file => new Source(file, Path.GetFileNameWithoutExtension(file), File.ReadAllText(file))),
            ];
        }

        List<Source> sources = ReadField(ConfigFile);
        return sources.Count > 0 ? sources : ReadField(TemplateJsonFile);
    }

    /// <summary>The texts of the special tokens. A token is written as its text, or as an object with its text and flags.</summary>
    public Dictionary<string, string> ReadSpecialTokens()
    {
        Dictionary<string, string> tokens = new(StringComparer.Ordinal);
        foreach (string file in new[] { TokensFile, ConfigFile })
        {
            if (ReadObject(file) is JsonElement root)
            {
                foreach (string name in s_tokenNames)
                {
                    if (root.TryGetProperty(name, out JsonElement token) && TextOf(token) is string text)
                    {
                        tokens[name] = text;
                    }
                }
            }
        }

        return tokens;
    }

    private List<Source> ReadField(string file)
    {
        const string field = "chat_template";
        string path = Path.Combine(folder, file);
        if (ReadObject(file) is not JsonElement root || !root.TryGetProperty(field, out JsonElement template))
        {
            return [];
        }

        switch (template.ValueKind)
        {
            case JsonValueKind.Null:
                return [];
            case JsonValueKind.String:
                return [new Source(path, ChatTemplateSet.DefaultName, template.GetString()!)];
            case JsonValueKind.Object:
                return [.. template.EnumerateObject().Select(one => new Source(path, one.Name, Needed(path, one.Name, one.Value)))];
            case JsonValueKind.Array:
                return [.. template.EnumerateArray().Select(one => new Source(path, Needed(path, "name", Member(one, "name")), Needed(path, "template", Member(one, "template"))))];
            default:
                throw new ModelFormatException(path, $"{field} is {template.ValueKind}, not a text or a list");
        }
    }

    private JsonElement? ReadObject(string file)
    {
        string path = Path.Combine(folder, file);
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            JsonElement root = JsonSerializer.Deserialize<JsonElement>(File.ReadAllText(path));
            return root.ValueKind == JsonValueKind.Object ? root : throw new ModelFormatException(path, $"is {root.ValueKind}, not an object");
        }
        catch (JsonException error)
        {
            throw new ModelFormatException(path, error.Message, error);
        }
    }

    private static JsonElement Member(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) ? value : default;

    private static string Needed(string path, string field, JsonElement value) => value.ValueKind == JsonValueKind.String
        ? value.GetString()!
        : throw new ModelFormatException(path, $"chat_template: '{field}' is {value.ValueKind}, not a text");

    private static string? TextOf(JsonElement token)
    {
        JsonElement text = token.ValueKind == JsonValueKind.Object ? Member(token, "content") : token;
        return text.ValueKind == JsonValueKind.String ? text.GetString() : null;
    }

    /// <summary>The text of one template.</summary>
    /// <param name="File">Where it stands.</param>
    /// <param name="Name">What it is called.</param>
    /// <param name="Text">The template.</param>
    internal readonly record struct Source(string File, string Name, string Text);
}
