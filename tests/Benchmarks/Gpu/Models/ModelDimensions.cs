using System.Text.Json.Nodes;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>The dimensions of a published model; its weights here are random.</summary>
internal sealed record ModelDimensions
{
    private const string Trial = "tiny";

    private static readonly string[] s_modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

    /// <summary>All of them, the small ones first; tiny is for trying the benchmark itself.</summary>
    public static IReadOnlyList<ModelDimensions> All { get; } =
    [
        new()
        {
            Name = Trial, Type = "llama", Hidden = 64, Intermediate = 128, Layers = 2, Heads = 4, KvHeads = 2, Vocabulary = 512,
            MaxPositions = 4096, RopeTheta = 10_000, IsTied = false,
        },
        new()
        {
            Name = "qwen2.5-0.5b", Type = "qwen2", Hidden = 896, Intermediate = 4864, Layers = 24, Heads = 14, KvHeads = 2, Vocabulary = 151_936,
            MaxPositions = 32_768, RopeTheta = 1_000_000, IsTied = true,
        },
        new()
        {
            Name = "llama-3.2-1b", Type = "llama", Hidden = 2048, Intermediate = 8192, Layers = 16, Heads = 32, KvHeads = 8, Vocabulary = 128_256,
            MaxPositions = 131_072, RopeTheta = 500_000, IsTied = true,
        },
        new()
        {
            Name = "llama-3-8b", Type = "llama", Hidden = 4096, Intermediate = 14_336, Layers = 32, Heads = 32, KvHeads = 8, Vocabulary = 128_256,
            MaxPositions = 8192, RopeTheta = 500_000, IsTied = false,
        },
    ];

    public required string Name { get; init; }

    /// <summary>model_type of config.json: llama or qwen2.</summary>
    public required string Type { get; init; }

    public required int Hidden { get; init; }

    public required int Intermediate { get; init; }

    public required int Layers { get; init; }

    public required int Heads { get; init; }

    public required int KvHeads { get; init; }

    public required int Vocabulary { get; init; }

    public required int MaxPositions { get; init; }

    public required double RopeTheta { get; init; }

    /// <summary>Whether the output head is the embedding.</summary>
    public required bool IsTied { get; init; }

    public int HeadSize => Hidden / Heads;

    /// <summary>Tokens to generate: a few in place of many with the shape that only tries the benchmark.</summary>
    public int Tokens(int usual) => Name == Trial ? Math.Max(4, usual / 16) : usual;

    /// <summary>Parameters of the linear layers and the head, which every token multiplies with.</summary>
    public long MultipliedParameters => (Layers * s_modules.Sum(module => (long)Features(module).Out * Features(module).In)) + ((long)Vocabulary * Hidden);

    /// <summary>Parameters of the linear layers alone.</summary>
    public long LayerParameters => MultipliedParameters - ((long)Vocabulary * Hidden);

    public static IReadOnlyList<string> Modules => s_modules;

    public static ModelDimensions Named(string name) => All.Single(shape => shape.Name == name);

    /// <summary>Output and input features of a linear module.</summary>
    public (int Out, int In) Features(string module) => module switch
    {
        "q_proj" => (Heads * HeadSize, Hidden),
        "k_proj" or "v_proj" => (KvHeads * HeadSize, Hidden),
        "o_proj" => (Hidden, Heads * HeadSize),
        "gate_proj" or "up_proj" => (Intermediate, Hidden),
        "down_proj" => (Hidden, Intermediate),
        _ => throw new ArgumentException($"'{module}' is no module of a layer"),
    };

    /// <summary>Parameters of an adapter on all linear modules.</summary>
    public long AdapterParameters(int rank) => Layers * s_modules.Sum(module => (long)rank * (Features(module).Out + Features(module).In));

    /// <summary>Multiply-adds of attention, two operations each, of rows that see so many tokens in all.</summary>
    public double AttentionOperations(double pairs) => 4 * pairs * Layers * Heads * HeadSize;

    /// <summary>Bytes of keys and values of one token.</summary>
    public long KvBytesPerToken(int bytesPerElement) => 2L * Layers * KvHeads * HeadSize * bytesPerElement;

    /// <summary>config.json, as both sides read it.</summary>
    public JsonObject Config() => new()
    {
        ["architectures"] = new JsonArray(Type == "qwen2" ? "Qwen2ForCausalLM" : "LlamaForCausalLM"),
        ["model_type"] = Type,
        ["hidden_size"] = Hidden,
        ["intermediate_size"] = Intermediate,
        ["num_hidden_layers"] = Layers,
        ["num_attention_heads"] = Heads,
        ["num_key_value_heads"] = KvHeads,
        ["head_dim"] = HeadSize,
        ["vocab_size"] = Vocabulary,
        ["max_position_embeddings"] = MaxPositions,
        ["rms_norm_eps"] = 1e-5,
        ["rope_theta"] = RopeTheta,
        ["hidden_act"] = "silu",
        ["tie_word_embeddings"] = IsTied,
        ["bos_token_id"] = 256,
        ["eos_token_id"] = 257,
        ["torch_dtype"] = "bfloat16",
    };
}
