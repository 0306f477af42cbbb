using System.Text.Json.Nodes;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.TestKit.TinyModel;

/// <summary>A random LoRA for a <see cref="TinyLlama"/> as PEFT saves it: adapter_config.json and adapter_model.safetensors.</summary>
public sealed record TinyLora
{
    public int Seed { get; init; } = 1;

    public int Rank { get; init; } = 4;

    public float Alpha { get; init; } = 8;

    public IReadOnlyList<string> Targets { get; init; } = ["q_proj", "v_proj"];

    /// <summary>How the file stores the weights: F32 or BF16.</summary>
    public DType WeightType { get; init; } = DType.F32;

    /// <summary>How strongly it changes the outputs; 1 changes most greedy tokens.</summary>
    public float Strength { get; init; } = 1f;

    /// <summary>Writes the folder; it is made when it does not exist.</summary>
    public void Write(string folder, TinyLlama model)
    {
        ArgumentNullException.ThrowIfNull(model);
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), Config().ToJsonString());
        using FileStream stream = File.Create(Path.Combine(folder, "adapter_model.safetensors"));
        SafetensorsWriter.Write(stream, Weights(model));
    }

    private JsonObject Config() => new()
    {
        ["peft_type"] = "LORA",
        ["task_type"] = "CAUSAL_LM",
        ["base_model_name_or_path"] = "tiny",
        ["r"] = Rank,
        ["lora_alpha"] = Alpha,
        ["lora_dropout"] = 0.0,
        ["target_modules"] = new JsonArray([.. Targets.Select(target => JsonValue.Create(target))]),
        ["bias"] = "none",
        ["fan_in_fan_out"] = false,
        ["use_rslora"] = false,
        ["use_dora"] = false,
        ["inference_mode"] = true,
    };

    private List<SafetensorsWriter.Tensor> Weights(TinyLlama model)
    {
        RandomWeights random = new(Seed, WeightType);
        List<SafetensorsWriter.Tensor> tensors = [];
        for (int layer = 0; layer < model.Layers; layer++)
        {
            foreach (string target in Targets)
            {
                (int outputs, int inputs) = model.Features(target);
                string prefix = $"base_model.model.{TinyLlama.Path(layer, target)}";
                tensors.Add(random.Matrix($"{prefix}.lora_A.weight", Rank, inputs, 1f / MathF.Sqrt(inputs)));
                tensors.Add(random.Matrix($"{prefix}.lora_B.weight", outputs, Rank, Strength * Rank / Alpha / MathF.Sqrt(Rank)));
            }
        }

        return tensors;
    }
}
