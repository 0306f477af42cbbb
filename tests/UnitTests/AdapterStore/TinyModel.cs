using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>A base model of a few modules with random weights, and adapters for it.</summary>
internal static class TinyModel
{
    private const int Hidden = 6;
    private const int Vocabulary = 11;

    /// <summary>Two layers with q_proj (bias), v_proj and a norm, an embedding and an output head.</summary>
    public static ModelShape Shape { get; } = Create(1);

    public static ModelShape Create(int seed, bool isTied = false)
    {
        List<ModuleShape> modules = [];
        void Add(string path, ModuleKind kind, int output, int input, bool hasBias, int layer) =>
            modules.Add(new ModuleShape(modules.Count, path, kind, output, input, hasBias, layer));
        Add("model.embed_tokens", ModuleKind.Embedding, Hidden, Vocabulary, false, -1);
        for (int layer = 0; layer < 2; layer++)
        {
            Add($"model.layers.{layer}.self_attn.q_proj", ModuleKind.Linear, 8, Hidden, true, layer);
            Add($"model.layers.{layer}.self_attn.v_proj", ModuleKind.Linear, 4, Hidden, false, layer);
            Add($"model.layers.{layer}.mlp.c_fc", ModuleKind.Conv1D, 10, Hidden, true, layer);
            Add($"model.layers.{layer}.input_layernorm", ModuleKind.Norm, Hidden, 0, true, layer);
        }

        Add("lm_head", ModuleKind.Linear, Vocabulary, Hidden, false, -1);
        return new ModelShape("tiny", 2, isTied, "lm_head", modules, (module, firstRow, destination) => Rows(seed, module, firstRow, destination.Span), module => Bias(module));
    }

    /// <summary>A weight of the model: deterministic, about 1 in size.</summary>
    public static float Weight(int seed, ModuleShape module, int row, int column) => MathF.Sin((seed * 7.1f) + (module.Index * 1.3f) + (row * 0.71f) + (column * 0.37f));

    public static float[]? Bias(ModuleShape module) =>
        module.HasBias ? [.. Enumerable.Range(0, module.OutFeatures).Select(i => MathF.Cos(module.Index + i))] : null;

    /// <summary>A LoRA config with some fields set.</summary>
    public static JsonObject Config(params (string Name, JsonNode? Value)[] fields)
    {
        JsonObject config = new()
        {
            ["peft_type"] = "LORA",
            ["base_model_name_or_path"] = "someone/tiny",
            ["r"] = 2,
            ["lora_alpha"] = 4,
            ["target_modules"] = new JsonArray("q_proj", "v_proj"),
            ["bias"] = "none",
        };
        foreach ((string name, JsonNode? value) in fields)
        {
            config[name] = value;
        }

        return config;
    }

    /// <summary>Random A and B of a rank for the named modules.</summary>
    public static List<SafetensorsWriter.Tensor> LoraTensors(int seed, int rank, params string[] names)
    {
        Random random = new(seed);
        List<SafetensorsWriter.Tensor> tensors = [];
        foreach (ModuleShape module in Shape.Modules.Where(module => names.Contains(module.Name)))
        {
            tensors.Add(Tensor(random, $"base_model.model.{module.Path}.lora_A.weight", rank, module.InFeatures));
            tensors.Add(Tensor(random, $"base_model.model.{module.Path}.lora_B.weight", module.OutFeatures, rank));
        }

        return tensors;
    }

    public static SafetensorsWriter.Tensor Tensor(Random random, string name, params long[] shape)
    {
        float[] values = new float[shape.Aggregate(1L, (product, dimension) => product * dimension)];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (random.NextSingle() * 2) - 1;
        }

        return new(name, DType.F32, shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
    }

    public static byte[] Bytes(JsonObject config) => Encoding.UTF8.GetBytes(config.ToJsonString());

    public static byte[] Bytes(IReadOnlyList<SafetensorsWriter.Tensor> tensors)
    {
        using MemoryStream stream = new();
        SafetensorsWriter.Write(stream, tensors);
        return stream.ToArray();
    }

    /// <summary>A whole adapter on q_proj and v_proj; another seed gives other contents.</summary>
    public static (byte[] Config, byte[] Weights) Adapter(int seed, bool usesDora = false)
    {
        List<SafetensorsWriter.Tensor> tensors = LoraTensors(seed, 2, "q_proj", "v_proj");
        if (usesDora)
        {
            Random random = new(seed);
            tensors.AddRange(Shape.Modules
                .Where(module => module.Name is "q_proj" or "v_proj")
                .Select(module => Tensor(random, $"base_model.model.{module.Path}.lora_magnitude_vector", module.OutFeatures)));
        }

        return (Bytes(Config(("use_dora", usesDora))), Bytes(tensors));
    }

    private static void Rows(int seed, ModuleShape module, int firstRow, Span<float> destination)
    {
        int columns = module.Kind is ModuleKind.Embedding or ModuleKind.Norm ? module.OutFeatures : module.InFeatures;
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = Weight(seed, module, firstRow + (i / columns), i % columns);
        }
    }
}
