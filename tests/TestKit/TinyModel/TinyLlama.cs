using System.Globalization;
using System.Text.Json.Nodes;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.TestKit.TinyModel;

/// <summary>
/// A random Llama of a few thousand weights as a Hugging Face folder: config.json, model.safetensors, a byte-level tokenizer (one token a
/// byte) and a chat template. The same seed gives the same bytes.
/// </summary>
public sealed record TinyLlama
{
    /// <summary>One token for each byte, then the special ones.</summary>
    public const int BeginToken = 256;

    public const int EndToken = 257;

    public int Seed { get; init; } = 1;

    public int VocabularySize { get; init; } = 260;

    public int HiddenSize { get; init; } = 32;

    public int IntermediateSize { get; init; } = 48;

    public int Layers { get; init; } = 2;

    public int Heads { get; init; } = 4;

    public int KvHeads { get; init; } = 2;

    public int MaxPositions { get; init; } = 512;

    /// <summary>How the file stores the weights: F32 or BF16.</summary>
    public DType WeightType { get; init; } = DType.F32;

    public int HeadSize => HiddenSize / Heads;

    /// <summary>Output and input features of the modules that adapters may change.</summary>
    public (int Out, int In) Features(string module) => module switch
    {
        "q_proj" => (Heads * HeadSize, HiddenSize),
        "k_proj" or "v_proj" => (KvHeads * HeadSize, HiddenSize),
        "o_proj" => (HiddenSize, Heads * HeadSize),
        "gate_proj" or "up_proj" => (IntermediateSize, HiddenSize),
        "down_proj" => (HiddenSize, IntermediateSize),
        _ => throw new ArgumentException($"'{module}' is no module of a Llama layer"),
    };

    /// <summary>Path of a module, for example <c>model.layers.0.self_attn.q_proj</c>.</summary>
    public static string Path(int layer, string module)
    {
        string part = module.Length == "q_proj".Length ? "self_attn" : "mlp";
        return string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.{part}.{module}");
    }

    /// <summary>Writes the folder; it is made when it does not exist.</summary>
    public void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(System.IO.Path.Combine(folder, "config.json"), Config().ToJsonString());
        File.WriteAllText(System.IO.Path.Combine(folder, "tokenizer.json"), Tokenizer().ToJsonString());
        File.WriteAllText(System.IO.Path.Combine(folder, "tokenizer_config.json"), TokenizerConfig().ToJsonString());
        using FileStream stream = File.Create(System.IO.Path.Combine(folder, "model.safetensors"));
        SafetensorsWriter.Write(stream, Weights());
    }

    private JsonObject Config() => new()
    {
        ["architectures"] = new JsonArray("LlamaForCausalLM"),
        ["model_type"] = "llama",
        ["hidden_size"] = HiddenSize,
        ["intermediate_size"] = IntermediateSize,
        ["num_hidden_layers"] = Layers,
        ["num_attention_heads"] = Heads,
        ["num_key_value_heads"] = KvHeads,
        ["head_dim"] = HeadSize,
        ["vocab_size"] = VocabularySize,
        ["max_position_embeddings"] = MaxPositions,
        ["rms_norm_eps"] = 1e-5,
        ["rope_theta"] = 10000.0,
        ["hidden_act"] = "silu",
        ["tie_word_embeddings"] = false,
        ["bos_token_id"] = BeginToken,
        ["eos_token_id"] = EndToken,
        ["torch_dtype"] = WeightType == DType.BF16 ? "bfloat16" : "float32",
    };

    private List<SafetensorsWriter.Tensor> Weights()
    {
        RandomWeights random = new(Seed, WeightType);
        List<SafetensorsWriter.Tensor> tensors = [random.Matrix("model.embed_tokens.weight", VocabularySize, HiddenSize, 1f)];
        for (int layer = 0; layer < Layers; layer++)
        {
            foreach (string module in new[] { "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj" })
            {
                (int outputs, int inputs) = Features(module);
                tensors.Add(random.Matrix($"{Path(layer, module)}.weight", outputs, inputs, 1.5f / MathF.Sqrt(inputs)));
            }

            string prefix = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
            tensors.Add(random.Norm(prefix + "input_layernorm.weight", HiddenSize));
            tensors.Add(random.Norm(prefix + "post_attention_layernorm.weight", HiddenSize));
        }

        tensors.Add(random.Norm("model.norm.weight", HiddenSize));
        tensors.Add(random.Matrix("lm_head.weight", VocabularySize, HiddenSize, 2f / MathF.Sqrt(HiddenSize)));
        return tensors;
    }

    private static JsonObject Tokenizer()
    {
        JsonObject vocabulary = [];
        for (int value = 0; value < 256; value++)
        {
            vocabulary[ByteCharacter(value).ToString()] = value;
        }

        return new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = new JsonArray(Added(BeginToken, "<|begin|>"), Added(EndToken, "<|end|>")),
            ["normalizer"] = null,
            ["pre_tokenizer"] = ByteLevel(),
            ["post_processor"] = null,
            ["decoder"] = ByteLevel(),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = null,
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false,
                ["byte_fallback"] = false,
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray(),
            },
        };
    }

    private static JsonObject TokenizerConfig() => new()
    {
        ["tokenizer_class"] = "PreTrainedTokenizerFast",
        ["bos_token"] = "<|begin|>",
        ["eos_token"] = "<|end|>",
        ["clean_up_tokenization_spaces"] = false,
        ["chat_template"] =
            "{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    };

    private static JsonObject ByteLevel() =>
        new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = true };

    private static JsonObject Added(int id, string content) => new()
    {
        ["id"] = id,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };

    // GPT-2's alphabet: printable bytes are themselves, the others follow from U+0100 in order.
    private static char ByteCharacter(int value)
    {
        if (IsPrintable(value))
        {
            return (char)value;
        }

        int place = Enumerable.Range(0, value).Count(other => !IsPrintable(other));
        return (char)(256 + place);
    }

    private static bool IsPrintable(int value) => value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
}
