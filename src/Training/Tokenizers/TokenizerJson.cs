using System.Text.Json.Nodes;

namespace InferenceServer.Training.Tokenizers;

/// <summary>tokenizer.json and tokenizer_config.json as Hugging Face's tokenizers writes them for byte-level BPE.</summary>
internal static class TokenizerJson
{
    public static JsonObject PreTokenizer(TokenizerRecipe recipe)
    {
        JsonObject digits = new() { ["type"] = "Digits", ["individual_digits"] = true };
        return recipe.SplitsDigits
            ? new JsonObject { ["type"] = "Sequence", ["pretokenizers"] = new JsonArray(digits, ByteLevel(addPrefixSpace: false)) }
            : ByteLevel(addPrefixSpace: false);
    }

    public static JsonObject Tokenizer(TokenizerRecipe recipe, IReadOnlyList<string> tokens, IReadOnlyList<(int Left, int Right)> merges)
    {
        JsonObject vocabulary = [];
        for (int id = 0; id < tokens.Count; id++)
        {
            vocabulary[tokens[id]] = id;
        }

        return new JsonObject
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray([.. recipe.SpecialTokens.Select(JsonNode (content, id) => Added(content, id))]),
            ["normalizer"] = null,
            ["pre_tokenizer"] = PreTokenizer(recipe),
            ["post_processor"] = PostProcessor(recipe),
            ["decoder"] = ByteLevel(addPrefixSpace: true),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = null,
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false,
                ["byte_fallback"] = false,
                ["ignore_merges"] = false,
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray([.. merges.Select(JsonNode (pair) => new JsonArray(tokens[pair.Left], tokens[pair.Right]))]),
            },
        };
    }

    public static JsonObject Configuration(TokenizerRecipe recipe)
    {
        JsonObject configuration = new()
        {
            ["tokenizer_class"] = "PreTrainedTokenizerFast",
            ["clean_up_tokenization_spaces"] = false,
        };
        Set("bos_token", recipe.BeginToken);
        Set("eos_token", recipe.EndToken);
        Set("chat_template", recipe.ChatTemplate);
        return configuration;

        void Set(string name, string? value)
        {
            if (value is not null)
            {
                configuration[name] = value;
            }
        }
    }

    private static JsonObject? PostProcessor(TokenizerRecipe recipe)
    {
        if (recipe.TextPrefix.Count + recipe.TextSuffix.Count == 0)
        {
            return null;
        }

        JsonObject specials = [];
        foreach (string token in recipe.TextPrefix.Concat(recipe.TextSuffix).Distinct(StringComparer.Ordinal))
        {
            int id = recipe.SpecialTokens.ToList().IndexOf(token);
            specials[token] = new JsonObject { ["id"] = token, ["ids"] = new JsonArray(id), ["tokens"] = new JsonArray(token) };
        }

        return new JsonObject
        {
            ["type"] = "TemplateProcessing",
            ["single"] = new JsonArray([.. Around(Sequence("A", 0))]),
            ["pair"] = new JsonArray([.. Around(Sequence("A", 0), Sequence("B", 1))]),
            ["special_tokens"] = specials,
        };

        IEnumerable<JsonNode> Around(params JsonNode[] sequences) =>
            [.. recipe.TextPrefix.Select(Special), .. sequences, .. recipe.TextSuffix.Select(Special)];
    }

    private static JsonNode Special(string token) => new JsonObject { ["SpecialToken"] = new JsonObject { ["id"] = token, ["type_id"] = 0 } };

    private static JsonObject Sequence(string id, int type) => new() { ["Sequence"] = new JsonObject { ["id"] = id, ["type_id"] = type } };

    private static JsonObject Added(string content, int id) => new()
    {
        ["id"] = id,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };

    private static JsonObject ByteLevel(bool addPrefixSpace) =>
        new() { ["type"] = "ByteLevel", ["add_prefix_space"] = addPrefixSpace, ["trim_offsets"] = true, ["use_regex"] = true };
}
