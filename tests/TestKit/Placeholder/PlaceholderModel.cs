using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.TestKit.Placeholder;

/// <summary>
/// A random Llama of 0.1 million parameters that talks gibberish, for tests of everything but its answers. The same bytes on every machine.
/// </summary>
public static class PlaceholderModel
{
    public const string Name = "placeholder";

    internal const int HiddenSize = 64;
    internal const int LayerCount = 2;
    internal const int HeadCount = 4;
    internal const int KvHeadCount = 2;
    internal const int HeadSize = 16;
    internal const int IntermediateSize = 128;
    internal const int MaxPositions = 2048;

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    private static readonly Lazy<string> s_folder = new(WriteShared);

    /// <summary>The model, written once for the process.</summary>
    public static string Folder => s_folder.Value;

    /// <summary>Writes the model as a Hugging Face folder.</summary>
    public static void Write(string folder)
    {
        WriteJson(folder, "config.json", Configuration());
        WriteJson(folder, "generation_config.json", new JsonObject
        {
            ["bos_token_id"] = PlaceholderTokenizer.BeginId,
            ["eos_token_id"] = PlaceholderTokenizer.EndId,
            ["do_sample"] = true,
            ["temperature"] = 0.8,
        });
        WriteJson(folder, "tokenizer.json", PlaceholderTokenizer.Tokenizer());
        WriteJson(folder, "tokenizer_config.json", PlaceholderTokenizer.Configuration());
        using FileStream weights = File.Create(Path.Combine(folder, "model.safetensors"));
        SafetensorsWriter.Write(weights, PlaceholderWeights.Create(), new Dictionary<string, string> { ["format"] = "pt" });
    }

    private static JsonObject Configuration()
    {
        return new JsonObject
        {
            ["architectures"] = new JsonArray("LlamaForCausalLM"),
            ["model_type"] = "llama",
            ["attention_bias"] = false,
            ["bos_token_id"] = PlaceholderTokenizer.BeginId,
            ["eos_token_id"] = PlaceholderTokenizer.EndId,
            ["head_dim"] = HeadSize,
            ["hidden_act"] = "silu",
            ["hidden_size"] = HiddenSize,
            ["intermediate_size"] = IntermediateSize,
            ["max_position_embeddings"] = MaxPositions,
            ["mlp_bias"] = false,
            ["num_attention_heads"] = HeadCount,
            ["num_hidden_layers"] = LayerCount,
            ["num_key_value_heads"] = KvHeadCount,
            ["rms_norm_eps"] = 1e-5,
            ["rope_scaling"] = null,
            ["rope_theta"] = 10_000.0,
            ["tie_word_embeddings"] = false,
            ["torch_dtype"] = "bfloat16",
            ["vocab_size"] = PlaceholderTokenizer.VocabularySize,
        };
    }

    private static void WriteJson(string folder, string name, JsonObject content)
    {
        File.WriteAllText(Path.Combine(folder, name), content.ToJsonString(s_indented) + "\n");
    }

    private static string WriteShared()
    {
        string root = Directory.CreateTempSubdirectory("placeholder-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(root, recursive: true);
        string folder = Path.Combine(root, Name);
        Directory.CreateDirectory(folder);
        Write(folder);
        return folder;
    }
}
