using System.Text.Json.Nodes;

namespace InferenceServer.TestKit.Placeholder;

/// <summary>The placeholder's tokenizer: a token for each byte, and four special ones. No merges.</summary>
public static class PlaceholderTokenizer
{
    public const int BeginId = 256;
    public const int EndId = 257;
    public const int VocabularySize = 261;

    private const string ChatTemplate =
        "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
        + "{% if add_generation_prompt %}<|assistant|>{% endif %}";

    private static readonly string[] s_specials = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

    public static JsonObject Tokenizer()
    {
        JsonObject vocabulary = [];
        for (int value = 0; value < 256; value++)
        {
            vocabulary[ByteLevelAlphabet.Characters[value].ToString()] = value;
        }

        return new JsonObject
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray([.. s_specials.Select(JsonNode (content, index) => Special(content, BeginId + index))]),
            ["normalizer"] = null,
            ["pre_tokenizer"] = Bytes(addPrefixSpace: false),
            ["post_processor"] = BeginFirst(),
            ["decoder"] = Bytes(addPrefixSpace: true),
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
                ["merges"] = new JsonArray(),
            },
        };
    }

    public static JsonObject Configuration()
    {
        return new JsonObject
        {
            ["tokenizer_class"] = "PreTrainedTokenizerFast",
            ["bos_token"] = s_specials[0],
            ["eos_token"] = s_specials[1],
            ["clean_up_tokenization_spaces"] = false,
            ["model_max_length"] = PlaceholderModel.MaxPositions,
            ["chat_template"] = ChatTemplate,
        };
    }

    private static JsonObject Special(string content, int id)
    {
        return new JsonObject
        {
            ["id"] = id,
            ["content"] = content,
            ["single_word"] = false,
            ["lstrip"] = false,
            ["rstrip"] = false,
            ["normalized"] = false,
            ["special"] = true,
        };
    }

    private static JsonObject Bytes(bool addPrefixSpace)
    {
        return new JsonObject
        {
            ["type"] = "ByteLevel",
            ["add_prefix_space"] = addPrefixSpace,
            ["trim_offsets"] = true,
            ["use_regex"] = true,
        };
    }

    private static JsonObject BeginFirst()
    {
        JsonObject begin = new() { ["SpecialToken"] = new JsonObject { ["id"] = s_specials[0], ["type_id"] = 0 } };
        return new JsonObject
        {
            ["type"] = "TemplateProcessing",
            ["single"] = new JsonArray(begin, Sequence("A", 0)),
            ["pair"] = new JsonArray(begin.DeepClone(), Sequence("A", 0), Sequence("B", 1)),
            ["special_tokens"] = new JsonObject
            {
                [s_specials[0]] = new JsonObject
                {
                    ["id"] = s_specials[0],
                    ["ids"] = new JsonArray(BeginId),
                    ["tokens"] = new JsonArray(s_specials[0]),
                },
            },
        };
    }

    private static JsonObject Sequence(string id, int type)
    {
        return new JsonObject { ["Sequence"] = new JsonObject { ["id"] = id, ["type_id"] = type } };
    }
}
