using System.Globalization;
using System.Text.Json.Nodes;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit.TinyModel;

namespace InferenceServer.Benchmarks.Gpu.Models;

/// <summary>Writes a model of given dimensions as a Hugging Face folder, a shard a layer, by all cores; in memory it never is as a whole.</summary>
internal static class ModelFolder
{
    /// <summary>Writes the folder; one that is there already is kept.</summary>
    public static void Write(ModelDimensions shape, string folder)
    {
        if (Directory.Exists(folder))
        {
            return;
        }

        string part = folder + ".part";
        if (Directory.Exists(part))
        {
            Directory.Delete(part, recursive: true);
        }

        // The tokenizer of the small model serves all: one token a byte, and ids beyond those are only numbers.
        new TinyLlama().Write(part);
        File.Delete(Path.Combine(part, "model.safetensors"));
        File.WriteAllText(Path.Combine(part, "config.json"), shape.Config().ToJsonString());
        (string File, SafetensorsWriter.Source[] Tensors)[] shards =
        [
            ("ends.safetensors", Ends(shape)),
            .. Enumerable.Range(0, shape.Layers).Select(layer => (string.Create(CultureInfo.InvariantCulture, $"layer-{layer}.safetensors"), Layer(shape, layer))),
        ];
        JsonObject map = [];
        foreach ((string file, SafetensorsWriter.Source[] tensors) in shards)
        {
            foreach (SafetensorsWriter.Source tensor in tensors)
            {
                map[tensor.Name] = file;
            }
        }

        File.WriteAllText(Path.Combine(part, "model.safetensors.index.json"), new JsonObject { ["weight_map"] = map }.ToJsonString());
        Parallel.ForEach(shards, shard =>
        {
            using FileStream stream = File.Create(Path.Combine(part, shard.File));
            SafetensorsWriter.Write(stream, shard.Tensors);
        });
        Directory.Move(part, folder);
    }

    private static SafetensorsWriter.Source[] Ends(ModelDimensions shape) =>
    [
        RandomPool.Tensor("model.embed_tokens.weight", shape.Vocabulary, shape.Hidden),
        RandomPool.Ones("model.norm.weight", shape.Hidden),
        .. shape.IsTied ? Array.Empty<SafetensorsWriter.Source>() : [RandomPool.Tensor("lm_head.weight", shape.Vocabulary, shape.Hidden)],
    ];

    private static SafetensorsWriter.Source[] Layer(ModelDimensions shape, int layer)
    {
        string prefix = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
        List<SafetensorsWriter.Source> tensors =
        [
            RandomPool.Ones(prefix + "input_layernorm.weight", shape.Hidden),
            RandomPool.Ones(prefix + "post_attention_layernorm.weight", shape.Hidden),
        ];
        foreach (string module in ModelDimensions.Modules)
        {
            (int outputs, int inputs) = shape.Features(module);
            string path = TinyLlama.Path(layer, module);
            tensors.Add(RandomPool.Tensor(path + ".weight", outputs, inputs));
            if (shape.Type == "qwen2" && (module is "q_proj" or "k_proj" or "v_proj"))
            {
                tensors.Add(RandomPool.Tensor(path + ".bias", outputs));
            }
        }

        return [.. tensors];
    }
}
