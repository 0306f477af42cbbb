using System.Text.Json;
using InferenceServer.Tensors;

namespace InferenceServer.Models.Configuration;

/// <summary>Reads config.json of the supported architectures.</summary>
public static class ModelConfigReader
{
    /// <summary>The architectures served, by the names that config.json uses.</summary>
    public static readonly IReadOnlyList<string> Supported =
    [
        "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM",
        "Phi3ForCausalLM", "GPT2LMHeadModel",
    ];

    private const int MaxFileBytes = 4 << 20;
    private const int MaxSize = 1 << 20;

    /// <summary>Reads a config.json.</summary>
    /// <exception cref="ModelFormatException">Not readable, not supported, or a field is out of its range.</exception>
    public static ModelConfig Read(string path)
    {
        string file = Path.GetFileName(path);
        if (!File.Exists(path))
        {
            throw new ModelFormatException(file, $"not found in {Path.GetDirectoryName(path)}");
        }

        long length = new FileInfo(path).Length;
        if (length > MaxFileBytes)
        {
            throw new ModelFormatException(file, $"{length} bytes exceed the limit {MaxFileBytes}");
        }

        return Parse(File.ReadAllBytes(path), file);
    }

    /// <summary>Parses the bytes of a config.json.</summary>
    public static ModelConfig Parse(ReadOnlyMemory<byte> json, string file)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 32 });
        }
        catch (JsonException error)
        {
            throw new ModelFormatException(file, $"not valid JSON: {error.Message}", error);
        }

        using (document)
        {
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new ModelFormatException(file, "not a JSON object");
            }

            JsonFields fields = new(document.RootElement, file);
            string architecture = fields.Texts("architectures") is [string first, ..] ? first : throw fields.Error("architectures", "is missing or empty");
            if (fields.Has("quantization_config"))
            {
                throw fields.Error("quantization_config", "is set: quantised checkpoints are not supported; give the unquantised one");
            }

            ModelConfig config = architecture switch
            {
                "LlamaForCausalLM" => Llama(fields, architecture) with
                {
                    HasQkvBias = fields.Bool("attention_bias", false),
                    HasOutputBias = fields.Bool("attention_bias", false),
                    HasMlpBias = fields.Bool("mlp_bias", false),
                },
                "MistralForCausalLM" => WithWindow(Llama(fields, architecture), fields, _ => true),
                "Qwen2ForCausalLM" => QwenWindows(Llama(fields, architecture) with { HasQkvBias = true }, fields),
                "Qwen3ForCausalLM" => QwenWindows(
                    Llama(fields, architecture) with
                    {
                        HasQkNorm = true,
                        HasQkvBias = fields.Bool("attention_bias", false),
                        HasOutputBias = fields.Bool("attention_bias", false),
                    },
                    fields),
                "GemmaForCausalLM" => Gemma(fields, architecture),
                "Gemma2ForCausalLM" => Gemma2(fields, architecture),
                "Phi3ForCausalLM" => WithWindow(Llama(fields, architecture), fields, _ => true),
                "GPT2LMHeadModel" => Gpt2(fields, architecture),
                _ => throw fields.Error("architectures", $"names '{architecture}', which is not supported; supported are {string.Join(", ", Supported)}"),
            };
            Check(config, fields);
            return config;
        }
    }

    private static ModelConfig Llama(JsonFields fields, string architecture)
    {
        int hidden = fields.Int("hidden_size", 1, MaxSize);
        int layers = fields.Int("num_hidden_layers", 1, 1024);
        int heads = fields.Int("num_attention_heads", 1, 4096);
        int headSize = fields.Int("head_dim", 1, 4096, hidden / heads);
        int maxPositions = fields.Int("max_position_embeddings", 1, 1 << 26, 2048);
        JsonFields? rope = fields.Object("rope_parameters") ?? fields.Object("rope_scaling");
        double theta = rope?.Has("rope_theta") == true
            ? rope.Value.Number("rope_theta", 1, 1e12)
            : fields.Number("rope_theta", 1, 1e12, 10_000);
        double partial = fields.Number("partial_rotary_factor", 0.01, 1, 1);
        return new ModelConfig
        {
            Architecture = architecture,
            HiddenSize = hidden,
            LayerCount = layers,
            HeadCount = heads,
            KvHeadCount = fields.Int("num_key_value_heads", 1, 4096, heads),
            HeadSize = headSize,
            IntermediateSize = fields.Int("intermediate_size", 1, MaxSize * 4),
            VocabularySize = fields.Int("vocab_size", 1, 1 << 24),
            MaxPositions = maxPositions,
            Activation = ReadActivation(fields, fields.Text("hidden_act") ?? "silu", "hidden_act"),
            NormEpsilon = (float)fields.Number("rms_norm_eps", 0, 1, 1e-6),
            TiedEmbeddings = fields.Has("tie_word_embeddings") ? fields.Bool("tie_word_embeddings", false) : null,
            RopeTheta = theta,
            RotarySize = (int)(headSize * partial),
            RopeScaling = RopeScalingReader.Read(rope, maxPositions, fields.OptionalInt("original_max_position_embeddings", 1, 1 << 26)),
            Windows = new int[layers],
            AttentionScale = (float)(1 / Math.Sqrt(headSize)),
            EosTokenIds = fields.Ints("eos_token_id"),
        };
    }

    private static ModelConfig Gemma(JsonFields fields, string architecture)
    {
        ModelConfig config = Llama(fields, architecture);

        // Gemma's first configs say "gelu" and mean the tanh form; transformers applies that whenever hidden_activation is absent.
        string activation = fields.Text("hidden_activation") ?? "gelu_pytorch_tanh";
        return config with
        {
            Activation = ReadActivation(fields, activation, "hidden_activation"),
            NormOffset = 1f,
            EmbeddingScale = (float)Math.Sqrt(config.HiddenSize),
            HasQkvBias = fields.Bool("attention_bias", false),
            HasOutputBias = fields.Bool("attention_bias", false),
        };
    }

    private static ModelConfig Gemma2(JsonFields fields, string architecture)
    {
        // Even layers slide, odd layers see everything, unless layer_types says otherwise.
        ModelConfig config = WithWindow(Gemma(fields, architecture), fields, layer => layer % 2 == 0);
        return config with
        {
            HasPostNorms = true,
            AttentionScale = (float)(1 / Math.Sqrt(fields.Number("query_pre_attn_scalar", 1e-3, 1e6, 256))),
            AttentionSoftCap = (float)fields.Number("attn_logit_softcapping", 0, 1e6, 0),
            FinalSoftCap = (float)fields.Number("final_logit_softcapping", 0, 1e6, 0),
        };
    }

    private static ModelConfig Gpt2(JsonFields fields, string architecture)
    {
        int hidden = fields.Int("n_embd", 1, MaxSize);
        int layers = fields.Int("n_layer", 1, 1024);
        int heads = fields.Int("n_head", 1, 4096);
        foreach (string unsupported in (string[])["scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"])
        {
            if (fields.Bool(unsupported, false))
            {
                throw fields.Error(unsupported, "is true, which is not supported");
            }
        }

        return new ModelConfig
        {
            Architecture = architecture,
            HiddenSize = hidden,
            LayerCount = layers,
            HeadCount = heads,
            KvHeadCount = heads,
            HeadSize = hidden / heads,
            IntermediateSize = fields.Int("n_inner", 1, MaxSize * 4, 4 * hidden),
            VocabularySize = fields.Int("vocab_size", 1, 1 << 24),
            MaxPositions = fields.Int("n_positions", 1, 1 << 26, 1024),
            Activation = ReadActivation(fields, fields.Text("activation_function") ?? "gelu_new", "activation_function"),
            NormEpsilon = (float)fields.Number("layer_norm_epsilon", 0, 1, 1e-5),
            HasLayerNorm = true,
            IsGated = false,
            TiedEmbeddings = fields.Has("tie_word_embeddings") ? fields.Bool("tie_word_embeddings", true) : null,
            HasQkvBias = true,
            HasOutputBias = true,
            HasMlpBias = true,
            HasLearnedPositions = true,
            Windows = new int[layers],
            AttentionScale = fields.Bool("scale_attn_weights", true) ? (float)(1 / Math.Sqrt(hidden / heads)) : 1f,
            EosTokenIds = fields.Ints("eos_token_id"),
        };
    }

    private static ModelConfig QwenWindows(ModelConfig config, JsonFields fields)
    {
        if (!fields.Bool("use_sliding_window", false))
        {
            return config;
        }

        int firstWindowed = fields.Int("max_window_layers", 0, int.MaxValue, config.LayerCount);
        return WithWindow(config, fields, layer => layer >= firstWindowed);
    }

    private static ModelConfig WithWindow(ModelConfig config, JsonFields fields, Func<int, bool> isWindowed)
    {
        if (fields.OptionalInt("sliding_window", 1, int.MaxValue) is not { } window)
        {
            return config;
        }

        string[] types = fields.Texts("layer_types");
        if (types.Length != 0 && types.Length != config.LayerCount)
        {
            throw fields.Error("layer_types", $"has {types.Length} entries for {config.LayerCount} layers");
        }

        int[] windows = new int[config.LayerCount];
        for (int layer = 0; layer < windows.Length; layer++)
        {
            bool windowed = types.Length == 0 ? isWindowed(layer) : types[layer] == "sliding_attention";
            windows[layer] = windowed ? window : 0;
        }

        return config with { Windows = windows };
    }

    private static Activation ReadActivation(JsonFields fields, string name, string field) => name switch
    {
        "silu" or "swish" => Activation.Silu,
        "gelu" => Activation.Gelu,
        "gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" => Activation.GeluTanh,
        "relu" => Activation.Relu,
        _ => throw fields.Error(field, $"names '{name}', which is not supported; supported are silu, gelu, gelu_new, gelu_pytorch_tanh, relu"),
    };

    private static void Check(ModelConfig config, JsonFields fields)
    {
        if (config.HeadCount % config.KvHeadCount != 0)
        {
            throw fields.Error("num_key_value_heads", $"is {config.KvHeadCount}, which does not divide the {config.HeadCount} attention heads");
        }

        if (config.HeadSize < 1 || (!config.HasLearnedPositions && (config.RotarySize < 2 || config.RotarySize % 2 != 0)))
        {
            throw fields.Error("head_dim", $"gives heads of {config.HeadSize} elements of which {config.RotarySize} rotate; an even number from 2 is needed");
        }

        if (config.HasLearnedPositions && config.HiddenSize % config.HeadCount != 0)
        {
            throw fields.Error("n_embd", $"is {config.HiddenSize}, not a multiple of the {config.HeadCount} heads");
        }
    }
}
