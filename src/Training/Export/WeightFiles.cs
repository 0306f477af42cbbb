using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.Training.Export;

/// <summary>Writes a model's tensors as transformers does: one file, or shards with an index where one would be too large.</summary>
internal static class WeightFiles
{
    private const string SingleFile = "model.safetensors";
    private static readonly Dictionary<string, string> s_metadata = new() { ["format"] = "pt" };

    public static void Write(string folder, IReadOnlyList<SafetensorsWriter.Source> tensors, long maxShardBytes)
    {
        List<List<SafetensorsWriter.Source>> shards = [[]];
        long bytes = 0;
        foreach (SafetensorsWriter.Source tensor in tensors)
        {
            if (shards[^1].Count > 0 && bytes + tensor.ByteCount > maxShardBytes)
            {
                shards.Add([]);
                bytes = 0;
            }

            shards[^1].Add(tensor);
            bytes += tensor.ByteCount;
        }

        JsonObject map = [];
        for (int i = 0; i < shards.Count; i++)
        {
            string name = shards.Count == 1
                ? SingleFile
                : string.Create(CultureInfo.InvariantCulture, $"model-{i + 1:D5}-of-{shards.Count:D5}.safetensors");
            using FileStream stream = File.Create(Path.Combine(folder, name));
            SafetensorsWriter.Write(stream, shards[i], s_metadata);
            foreach (SafetensorsWriter.Source tensor in shards[i])
            {
                map[tensor.Name] = name;
            }
        }

        if (shards.Count > 1)
        {
            JsonObject index = new()
            {
                ["metadata"] = new JsonObject { ["total_size"] = tensors.Sum(tensor => tensor.ByteCount) },
                ["weight_map"] = map,
            };
            File.WriteAllText(Path.Combine(folder, SingleFile + ".index.json"), index.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
        }
    }
}
