using System.Text.Json.Nodes;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.TestKit.TinyModel;

/// <summary>A random routed adapter for a <see cref="TinyLlama"/>, as docs/ROUTED_ADAPTERS.md describes.</summary>
public sealed record TinyRouter
{
    public int Seed { get; init; } = 1;

    /// <summary>Rank of each adapter's block, the same on every module.</summary>
    public IReadOnlyList<int> Ranks { get; init; } = [4, 4];

    public IReadOnlyList<string> Targets { get; init; } = ["q_proj", "v_proj"];

    /// <summary>Writes the folder; it is made when it does not exist.</summary>
    public void Write(string folder, TinyLlama model)
    {
        ArgumentNullException.ThrowIfNull(model);
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), Config(model).ToJsonString());
        using FileStream stream = File.Create(Path.Combine(folder, "adapter_model.safetensors"));
        SafetensorsWriter.Write(stream, Weights(model));
    }

    private IEnumerable<(string Path, int Outputs, int Inputs)> Modules(TinyLlama model) =>
        from layer in Enumerable.Range(0, model.Layers)
        from target in Targets
        let features = model.Features(target)
        select (TinyLlama.Path(layer, target), features.Out, features.In);

    private JsonObject Config(TinyLlama model)
    {
        JsonObject ranks = [];
        foreach ((string path, _, _) in Modules(model))
        {
            ranks[path] = new JsonArray([.. Ranks.Select(rank => JsonValue.Create(rank))]);
        }

        return new JsonObject
        {
            ["peft_type"] = "ROUTED_LORA",
            ["base_model_name_or_path"] = "tiny",
            ["router_config"] = new JsonObject
            {
                ["adapters"] = new JsonArray([.. Ranks.Select((_, i) => JsonValue.Create($"source-{i}"))]),
                ["block_ranks"] = ranks,
                ["bias"] = true,
            },
        };
    }

    private List<SafetensorsWriter.Tensor> Weights(TinyLlama model)
    {
        RandomWeights random = new(Seed, DType.F32);
        int rank = Ranks.Sum();
        List<SafetensorsWriter.Tensor> tensors = [];
        foreach ((string path, int outputs, int inputs) in Modules(model))
        {
            string prefix = $"base_model.model.{path}";
            tensors.Add(random.Matrix($"{prefix}.lora_A.weight", rank, inputs, 1f / MathF.Sqrt(inputs)));
            tensors.Add(random.Matrix($"{prefix}.lora_B.weight", outputs, rank, Ranks.Count / MathF.Sqrt(rank)));
            tensors.Add(random.Matrix($"{prefix}.router_gate.weight", Ranks.Count, inputs, 2f / MathF.Sqrt(inputs)));
            tensors.Add(random.Norm($"{prefix}.router_gate.bias", Ranks.Count));
        }

        return tensors;
    }
}
