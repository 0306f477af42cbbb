using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit.Placeholder;

namespace InferenceServer.IntegrationTests.Adapters;

/// <summary>
/// Writes PEFT adapters for the placeholder model: a random change of the attention, and a chosen leaning over tokens.
/// </summary>
internal static class AdapterMaker
{
    private const int HiddenSize = 64;
    private const int QuerySize = 64;
    private const int ValueSize = 32;
    private const int LayerCount = 2;

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    /// <summary>A plain random LoRA.</summary>
    public static void WriteRandom(string folder, ulong seed, int rank) => Write(folder, seed, rank, _ => 0f);

    /// <summary>A random LoRA that also leans towards some tokens.</summary>
    /// <param name="folder">Where the two files go.</param>
    /// <param name="seed">Of the random part.</param>
    /// <param name="rank">Of every module.</param>
    /// <param name="leaning">
    /// Added to a token's logit, up to the last norm's factor: row 0 of lm_head's A picks the hidden dimension that is constant.
    /// </param>
    public static void Write(string folder, ulong seed, int rank, Func<int, float> leaning)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), Configuration(rank).ToJsonString(s_indented) + "\n");
        using FileStream weights = File.Create(Path.Combine(folder, "adapter_model.safetensors"));
        SafetensorsWriter.Write(weights, Tensors(seed, rank, leaning), new Dictionary<string, string> { ["format"] = "pt" });
    }

    private static JsonObject Configuration(int rank)
    {
        return new JsonObject
        {
            ["base_model_name_or_path"] = PlaceholderModel.Name,
            ["bias"] = "none",
            ["fan_in_fan_out"] = false,
            ["inference_mode"] = true,
            ["lora_alpha"] = rank,
            ["lora_dropout"] = 0.0,
            ["modules_to_save"] = null,
            ["peft_type"] = "LORA",
            ["r"] = rank,
            ["target_modules"] = new JsonArray("q_proj", "v_proj", "lm_head"),
            ["task_type"] = "CAUSAL_LM",
            ["use_dora"] = false,
            ["use_rslora"] = false,
        };
    }

    private static List<SafetensorsWriter.Tensor> Tensors(ulong seed, int rank, Func<int, float> leaning)
    {
        const string Prefix = "base_model.model.";
        DeterministicRandom random = new(seed);
        List<SafetensorsWriter.Tensor> tensors = [];
        for (int layer = 0; layer < LayerCount; layer++)
        {
            AddPair($"{Prefix}model.layers.{layer}.self_attn.q_proj", QuerySize, HiddenSize);
            AddPair($"{Prefix}model.layers.{layer}.self_attn.v_proj", ValueSize, HiddenSize);
        }

        float[] a = random.Fill(rank * HiddenSize, 0.2f);
        Array.Clear(a, 0, HiddenSize);
        a[PlaceholderWeights.BiasDimension] = 1f;
        float[] b = random.Fill(PlaceholderTokenizer.VocabularySize * rank, 0.2f);
        for (int token = 0; token < PlaceholderTokenizer.VocabularySize; token++)
        {
            b[token * rank] = leaning(token);
        }

        tensors.Add(SafetensorsWriter.FromSingles($"{Prefix}lm_head.lora_A.weight", [rank, HiddenSize], a));
        tensors.Add(SafetensorsWriter.FromSingles($"{Prefix}lm_head.lora_B.weight", [PlaceholderTokenizer.VocabularySize, rank], b));
        return tensors;

        void AddPair(string module, int rows, int columns)
        {
            tensors.Add(SafetensorsWriter.FromSingles($"{module}.lora_A.weight", [rank, columns], random.Fill(rank * columns, 0.3f)));
            tensors.Add(SafetensorsWriter.FromSingles($"{module}.lora_B.weight", [rows, rank], random.Fill(rows * rank, 0.3f)));
        }
    }
}
