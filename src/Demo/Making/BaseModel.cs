using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.Training.Tokenizers;

namespace InferenceServer.Demo.Making;

/// <summary>
/// The base before its training: a Llama of 3 million parameters with random weights, its tokenizer and its chat template, as a Hugging
/// Face folder.
/// </summary>
public static class BaseModel
{
    public const int HiddenSize = 192;
    public const int IntermediateSize = 512;
    public const int Layers = 6;
    public const int Heads = 6;
    public const int MaxPositions = 512;

    // Text is a question for this model: it is followed by the token that the answer begins with, in a chat as outside of one.
    private const string Begin = "<|begin|>";
    private const string End = "<|end|>";
    private const string Answer = "<|answer|>";

    private const string ChatTemplate =
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] }}"
        + "{% elif message['role'] == 'assistant' %}<|answer|>{{ message['content'] }}<|end|>"
        + "{% else %}{{ raise_exception('the demo base knows user and assistant only, not ' + message['role']) }}{% endif %}{% endfor %}"
        + "{% if add_generation_prompt %}<|answer|>{% endif %}";

    private const float InitialDeviation = 0.02f;

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    public static TokenizerRecipe TokenizerRecipe { get; } = new()
    {
        VocabularySize = 704,
        SpecialTokens = [Begin, End, Answer],
        SplitsDigits = true,
        BeginToken = Begin,
        EndToken = End,
        TextPrefix = [Begin],
        TextSuffix = [Answer],
        ChatTemplate = ChatTemplate,
    };

    /// <summary>Writes the folder; the same seed gives the same weights.</summary>
    public static void WriteStart(string folder, int seed)
    {
        TrainedTokenizer tokenizer = BpeTrainer.Train(TrainingText.ForTokenizer(40_000, seed), TokenizerRecipe);
        tokenizer.Write(folder);
        int vocabulary = tokenizer.Tokens.Count;
        WriteJson(folder, "config.json", Configuration(vocabulary));
        WriteJson(folder, "generation_config.json", new JsonObject
        {
            ["bos_token_id"] = 0,
            ["eos_token_id"] = 1,
            ["do_sample"] = false,
        });
        using FileStream stream = File.Create(Path.Combine(folder, "model.safetensors"));
        SafetensorsWriter.Write(stream, Weights(vocabulary, seed), new Dictionary<string, string> { ["format"] = "pt" });
    }

    internal static JsonObject Configuration(int vocabulary) => new()
    {
        ["architectures"] = new JsonArray("LlamaForCausalLM"),
        ["model_type"] = "llama",
        ["attention_bias"] = false,
        ["bos_token_id"] = 0,
        ["eos_token_id"] = 1,
        ["head_dim"] = HiddenSize / Heads,
        ["hidden_act"] = "silu",
        ["hidden_size"] = HiddenSize,
        ["intermediate_size"] = IntermediateSize,
        ["max_position_embeddings"] = MaxPositions,
        ["mlp_bias"] = false,
        ["num_attention_heads"] = Heads,
        ["num_hidden_layers"] = Layers,
        ["num_key_value_heads"] = Heads,
        ["rms_norm_eps"] = 1e-5,
        ["rope_scaling"] = null,
        ["rope_theta"] = 10_000.0,
        ["tie_word_embeddings"] = false,
        ["torch_dtype"] = "bfloat16",
        ["vocab_size"] = vocabulary,
    };

    // As GPT-2 starts: normal with deviation 0.02, smaller by the root of the number of residual branches where a branch ends.
    private static List<SafetensorsWriter.Tensor> Weights(int vocabulary, int seed)
    {
        Random random = new(seed);
        float branchEnd = InitialDeviation / MathF.Sqrt(2 * Layers);
        List<SafetensorsWriter.Tensor> tensors = [Matrix("model.embed_tokens.weight", vocabulary, HiddenSize, InitialDeviation)];
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
            tensors.Add(Ones(prefix + "input_layernorm.weight"));
            tensors.Add(Matrix(prefix + "self_attn.q_proj.weight", HiddenSize, HiddenSize, InitialDeviation));
            tensors.Add(Matrix(prefix + "self_attn.k_proj.weight", HiddenSize, HiddenSize, InitialDeviation));
            tensors.Add(Matrix(prefix + "self_attn.v_proj.weight", HiddenSize, HiddenSize, InitialDeviation));
            tensors.Add(Matrix(prefix + "self_attn.o_proj.weight", HiddenSize, HiddenSize, branchEnd));
            tensors.Add(Ones(prefix + "post_attention_layernorm.weight"));
            tensors.Add(Matrix(prefix + "mlp.gate_proj.weight", IntermediateSize, HiddenSize, InitialDeviation));
            tensors.Add(Matrix(prefix + "mlp.up_proj.weight", IntermediateSize, HiddenSize, InitialDeviation));
            tensors.Add(Matrix(prefix + "mlp.down_proj.weight", HiddenSize, IntermediateSize, branchEnd));
        }

        tensors.Add(Ones("model.norm.weight"));
        tensors.Add(Matrix("lm_head.weight", vocabulary, HiddenSize, InitialDeviation));
        return tensors;

        SafetensorsWriter.Tensor Matrix(string name, int rows, int columns, float deviation)
        {
            float[] values = new float[rows * columns];
            for (int i = 0; i < values.Length; i++)
            {
                // Box and Muller 1958.
                double radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
                values[i] = (float)(deviation * radius * Math.Cos(2 * Math.PI * random.NextDouble()));
            }

            return SafetensorsWriter.FromSingles(name, [rows, columns], values);
        }
    }

    private static SafetensorsWriter.Tensor Ones(string name) =>
        SafetensorsWriter.FromSingles(name, [HiddenSize], [.. Enumerable.Repeat(1f, HiddenSize)]);

    private static void WriteJson(string folder, string name, JsonObject content) =>
        File.WriteAllText(Path.Combine(folder, name), content.ToJsonString(s_indented) + "\n");
}
