using System.Globalization;
using System.Text.Json.Nodes;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>Writes LoRA adapters on all linear modules of a shape as PEFT does.</summary>
internal static class AdapterFiles
{
    public const int Rank = 16;

    public static string NameOf(int number) => string.Create(CultureInfo.InvariantCulture, $"tenant-{number}");

    /// <summary>Writes a folder; the numbers of each adapter are others.</summary>
    public static void Write(ModelDimensions shape, int number, string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), Config().ToJsonString());
        List<SafetensorsWriter.Source> tensors = [];
        for (int layer = 0; layer < shape.Layers; layer++)
        {
            foreach (string module in ModelDimensions.Modules)
            {
                (int outputs, int inputs) = shape.Features(module);
                string path = $"base_model.model.{TinyLlama.Path(layer, module)}";
                tensors.Add(Numbered(RandomPool.Tensor($"{path}.lora_A.weight {number}", Rank, inputs)));
                tensors.Add(Numbered(RandomPool.Tensor($"{path}.lora_B.weight {number}", outputs, Rank)));
            }
        }

        using FileStream stream = File.Create(Path.Combine(folder, "adapter_model.safetensors"));
        SafetensorsWriter.Write(stream, tensors);
    }

    // The number chose the place in the pool and is no part of the tensor's name.
    private static SafetensorsWriter.Source Numbered(SafetensorsWriter.Source source) => source with { Name = source.Name.Split(' ')[0] };

    private static JsonObject Config() => new()
    {
        ["peft_type"] = "LORA",
        ["task_type"] = "CAUSAL_LM",
        ["base_model_name_or_path"] = "random",
        ["r"] = Rank,
        ["lora_alpha"] = Rank,
        ["lora_dropout"] = 0.0,
        ["target_modules"] = new JsonArray([.. ModelDimensions.Modules.Select(module => JsonValue.Create(module))]),
        ["bias"] = "none",
        ["fan_in_fan_out"] = false,
        ["use_rslora"] = false,
        ["use_dora"] = false,
        ["inference_mode"] = true,
    };
}
