using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Server.Embedded;

/// <summary>
/// The model that is served when none is named: a random Llama of 0.1 million parameters that talks gibberish. It is a placeholder
/// that makes the server start with nothing else; it is made, always the same, in the data folder at the first start.
/// </summary>
public static class EmbeddedModel
{
    public const string Name = "embedded-placeholder";

    internal const int HiddenSize = 64;
    internal const int LayerCount = 2;
    internal const int HeadCount = 4;
    internal const int KvHeadCount = 2;
    internal const int HeadSize = 16;
    internal const int IntermediateSize = 128;
    internal const int MaxPositions = 2048;

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    /// <summary>The model's folder below <paramref name="dataFolder"/>, made when it is not there yet.</summary>
    public static string EnsureCreated(string dataFolder)
    {
        string folder = Path.Combine(dataFolder, Name);
        if (Directory.Exists(folder))
        {
            return folder;
        }

        // Written aside and renamed: a start that is cut off leaves no half model behind that the next one would take.
        string aside = Path.Combine(dataFolder, $".{Name}-{Guid.NewGuid():N}");
        Directory.CreateDirectory(aside);
        Write(aside);
        try
        {
            Directory.Move(aside, folder);
        }
        catch (IOException) when (Directory.Exists(folder))
        {
            Directory.Delete(aside, recursive: true);
        }

        return folder;
    }

    /// <summary>Writes the model as a Hugging Face folder.</summary>
    public static void Write(string folder)
    {
        WriteJson(folder, "config.json", Configuration());
        WriteJson(folder, "generation_config.json", new JsonObject
        {
            ["bos_token_id"] = EmbeddedTokenizer.BeginId,
            ["eos_token_id"] = EmbeddedTokenizer.EndId,
            ["do_sample"] = true,
            ["temperature"] = 0.8,
        });
        WriteJson(folder, "tokenizer.json", EmbeddedTokenizer.Tokenizer());
        WriteJson(folder, "tokenizer_config.json", EmbeddedTokenizer.Configuration());
        using FileStream weights = File.Create(Path.Combine(folder, "model.safetensors"));
        SafetensorsWriter.Write(weights, EmbeddedWeights.Create(), new Dictionary<string, string> { ["format"] = "pt" });
    }

    private static JsonObject Configuration()
    {
        return new JsonObject
        {
            ["architectures"] = new JsonArray("LlamaForCausalLM"),
            ["model_type"] = "llama",
            ["attention_bias"] = false,
            ["bos_token_id"] = EmbeddedTokenizer.BeginId,
            ["eos_token_id"] = EmbeddedTokenizer.EndId,
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
            ["vocab_size"] = EmbeddedTokenizer.VocabularySize,
        };
    }

    private static void WriteJson(string folder, string name, JsonObject content)
    {
        File.WriteAllText(Path.Combine(folder, name), content.ToJsonString(s_indented) + "\n");
    }
}
