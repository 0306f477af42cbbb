using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.AdapterStore;

/// <summary>Routed adapters: what docs/ROUTED_ADAPTERS.md says is read, and everything else is refused by name.</summary>
public sealed class RoutedImportTests(ITestOutputHelper output) : IDisposable
{
    private const string Prefix = "base_model.model.";
    private const string Q0 = "model.layers.0.self_attn.q_proj";
    private const string F1 = "model.layers.1.mlp.c_fc";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Blocks_gates_and_what_weighs_them_are_read_as_they_are()
    {
        List<SafetensorsWriter.Tensor> tensors = Tensors();

        ImportedAdapter adapter = Import(Config(), tensors);

        LowRankDelta delta = adapter.Weights.Deltas[TinyModel.Shape.Find(Q0)!.Index]!;
        RankGate gate = delta.Gate!;
        Assert.Equal(Values(tensors, $"{Q0}.lora_A.weight"), delta.A!.Values);
        Assert.Equal(Values(tensors, $"{Q0}.lora_B.weight"), delta.B!.Values);
        Assert.Equal(Values(tensors, $"{Q0}.router_gate.weight"), gate.Weight.Values);
        Assert.Equal(Values(tensors, $"{Q0}.router_gate.bias"), gate.Bias);
        Assert.Equal([2, 0, 3], gate.BlockRanks);
        Assert.Equal((0.5f, 2), (gate.Temperature, gate.TopK));
        Assert.Equal([1, 2, 1], adapter.Weights.Deltas[TinyModel.Shape.Find(F1)!.Index]!.Gate!.BlockRanks);
        Assert.Equal(2, adapter.Weights.Deltas.Count(one => one is not null));
        AdapterManifest manifest = adapter.Manifest;
        Assert.Equal((AdapterMethod.Routed, "ROUTED_LORA", 5, "someone/tiny"), (manifest.Method, manifest.Method.PeftType(), manifest.MaxRank, manifest.BaseModelName));
        Assert.Equal(["fr-legal", "de-legal", "code"], manifest.RoutedAdapters);
        Assert.Equal([5, 4], manifest.Ranks);
        Assert.Equal([Q0, F1], manifest.TargetModules);
        Assert.Empty(manifest.ReplacedModules);
        Assert.True(manifest.HostBytes > manifest.MatrixBytes);
    }

    [Fact]
    public void Left_out_they_are_all_blocks_temperature_1_and_no_bias()
    {
        JsonObject config = Config();
        JsonObject router = (JsonObject)config["router_config"]!;
        router.Remove("top_k");
        router.Remove("temperature");
        router.Remove("bias");

        ImportedAdapter adapter = Import(config, [.. Tensors().Where(tensor => !tensor.Name.EndsWith(".router_gate.bias", StringComparison.Ordinal))]);

        RankGate gate = adapter.Weights.Deltas.First(delta => delta is not null)!.Gate!;
        Assert.Equal((1f, 3), (gate.Temperature, gate.TopK));
        Assert.Null(gate.Bias);
    }

    [Theory]
    [InlineData("router_config", "null", "router_config")]
    [InlineData("router_config", "[]", "router_config")]
    [InlineData("router_config", "3", "router_config")]
    [InlineData("router_config", "{}", "router_config.adapters")]
    [InlineData("adapters", "\"fr-legal\"", "router_config.adapters")]
    [InlineData("adapters", "[]", "router_config.adapters")]
    [InlineData("adapters", "[\"one\"]", "router_config.adapters")]
    [InlineData("adapters", "[\"a\", \"b\"]", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("adapters", "[\"a\", \"b\", \"a\"]", "router_config.adapters")]
    [InlineData("adapters", "[\"a\", \"b\", \"\"]", "router_config.adapters")]
    [InlineData("adapters", "[\"a\", \"b\", \"../c\"]", "router_config.adapters")]
    [InlineData("adapters", "[\"a\", \"b\", \"base\"]", "router_config.adapters")]
    [InlineData("adapters", "[\"a\", \"b\", 3]", "router_config.adapters")]
    [InlineData("adapters", "[\"a\", \"b\", \"\\ud800\"]", "router_config.adapters")]
    [InlineData("adapters", "[\"a\", \"b\", null]", "router_config.adapters")]
    [InlineData("top_k", "0", "router_config.top_k")]
    [InlineData("top_k", "4", "router_config.top_k")]
    [InlineData("top_k", "-1", "router_config.top_k")]
    [InlineData("top_k", "1.5", "router_config.top_k")]
    [InlineData("top_k", "\"2\"", "router_config.top_k")]
    [InlineData("top_k", "99999999999", "router_config.top_k")]
    [InlineData("temperature", "0", "router_config.temperature")]
    [InlineData("temperature", "-1", "router_config.temperature")]
    [InlineData("temperature", "1e-30", "router_config.temperature")]
    [InlineData("temperature", "1e30", "router_config.temperature")]
    [InlineData("temperature", "1e400", "router_config.temperature")]
    [InlineData("temperature", "\"1\"", "router_config.temperature")]
    [InlineData("temperature", "null", "router_config.temperature")]
    [InlineData("bias", "1", "router_config.bias")]
    [InlineData("bias", "null", "router_config.bias")]
    [InlineData("bias", "false", Prefix + Q0 + ".router_gate.bias")]
    [InlineData("train_blocks", "\"yes\"", "router_config.train_blocks")]
    [InlineData("balance_loss", "0.1", "router_config.balance_loss")]
    [InlineData("block_ranks", "null", "router_config.block_ranks")]
    [InlineData("block_ranks", "[]", "router_config.block_ranks")]
    [InlineData("block_ranks", "{}", "router_config.block_ranks")]
    [InlineData("block_ranks", "{\"q_proj\": [2, 0, 3]}", "router_config.block_ranks")]
    [InlineData("block_ranks", "{\"model.layers.9.self_attn.q_proj\": [2, 0, 3]}", "router_config.block_ranks")]
    [InlineData("block_ranks", "{\"model.embed_tokens\": [2, 0, 3]}", "router_config.block_ranks")]
    [InlineData("block_ranks", "{\"model.layers.0.input_layernorm\": [2, 0, 3]}", "router_config.block_ranks")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": 5}", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [5]}", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [0, 0, 0]}", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [6, -1, 0]}", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [2, 0, \"3\"]}", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [2, 0, 3.5]}", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [513, 0, 0]}", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [511, 1, 1]}", "router_config.block_ranks.model.layers.0.self_attn.q_proj")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [2, 0, 3]}", Prefix + F1 + ".lora_A.weight")]
    [InlineData("block_ranks", "{\"model.layers.0.self_attn.q_proj\": [2, 1, 3], \"model.layers.1.mlp.c_fc\": [1, 2, 1]}", Prefix + Q0 + ".lora_A.weight")]
    [InlineData("peft_type", "\"LORA\"", "router_config")]
    [InlineData("peft_type", "\"XLORA\"", "peft_type")]
    [InlineData("target_modules", "[\"q_proj\"]", "target_modules")]
    [InlineData("target_modules", "\"all-linear\"", "target_modules")]
    [InlineData("exclude_modules", "[\"q_proj\"]", "exclude_modules")]
    [InlineData("layers_to_transform", "[0]", "layers_to_transform")]
    [InlineData("modules_to_save", "[\"lm_head\"]", "modules_to_save")]
    [InlineData("trainable_token_indices", "[1]", "trainable_token_indices")]
    [InlineData("bias_of_peft", "\"all\"", "bias")]
    [InlineData("r", "8", "r")]
    [InlineData("use_dora", "true", "use_dora")]
    public void Every_wrong_field_is_refused_by_its_name(string field, string value, string subject)
    {
        JsonObject config = Config();
        JsonNode? node = value.Contains("\\ud800", StringComparison.Ordinal) || value == "1e400" ? null : JsonNode.Parse(value);
        string name = field == "bias_of_peft" ? "bias" : field;
        bool isRouters = field is "adapters" or "top_k" or "temperature" or "bias" or "train_blocks" or "balance_loss" or "block_ranks";
        JsonObject target = isRouters ? (JsonObject)config["router_config"]! : config;
        target[name] = JsonValue.Create("here");
        string json = config.ToJsonString();
        target[name] = node;
        json = node is null && value != "null" ? json.Replace("\"here\"", value, StringComparison.Ordinal) : config.ToJsonString();

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(
            () => Import(Encoding.UTF8.GetBytes(json), TinyModel.Bytes(Tensors())));

        Assert.Equal(subject, error.Subject);
        Assert.DoesNotContain(error.Message, char.IsControl);
    }

    [Fact]
    public void Every_missing_misshapen_or_infinite_tensor_is_refused_by_name()
    {
        List<SafetensorsWriter.Tensor> sound = Tensors();
        for (int i = 0; i < sound.Count; i++)
        {
            SafetensorsWriter.Tensor tensor = sound[i];
            string path = tensor.Name.Contains("c_fc", StringComparison.Ordinal) ? F1 : Q0;
            Assert.Equal(path, Refused([.. sound.Where((_, index) => index != i)]).Subject);
            long[] turned = [.. tensor.Shape.Reverse(), .. tensor.Shape.Length == 1 ? (long[])[1] : []];
            Assert.Equal(tensor.Name, Refused([.. sound.Select((one, index) => index == i ? one with { Shape = turned } : one)]).Subject);
            foreach (float value in (float[])[float.NaN, float.PositiveInfinity])
            {
                byte[] data = tensor.Data.ToArray();
                BinaryPrimitives.WriteSingleLittleEndian(data.AsSpan(data.Length - 4), value);
                AdapterFormatException error = Refused([.. sound.Select((one, index) => index == i ? one with { Data = data } : one)]);
                Assert.Equal((tensor.Name, "finite values"), (error.Subject, error.Expected));
            }
        }

        Assert.Equal(
            $"{Prefix}{Q0}.lora_magnitude_vector",
            Refused([.. sound, TinyModel.Tensor(new Random(1), $"{Prefix}{Q0}.lora_magnitude_vector", 8)]).Subject);
        Assert.Equal($"{Prefix}lm_head.router_gate.weight", Refused([.. sound, TinyModel.Tensor(new Random(1), $"{Prefix}lm_head.router_gate.weight", 3, 6)]).Subject);

        AdapterFormatException Refused(List<SafetensorsWriter.Tensor> tensors) =>
            Assert.Throws<AdapterFormatException>(() => Import(Config(), tensors));
    }

    [Fact]
    public void A_rank_over_the_limit_names_the_limit()
    {
        _folder.Write(TinyModel.Bytes(Config()), TinyModel.Bytes(Tensors()));

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(
            () => new PeftImporter(TinyModel.Shape, new AdapterLimits { MaxRank = 4 }).Import(_folder.Path, "x"));

        Assert.Contains("MaxRank 4", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Random_bytes_changed_anywhere_are_refused_or_read_but_nothing_else()
    {
        Random random = new(78);
        byte[] soundConfig = TinyModel.Bytes(Config());
        byte[] soundWeights = TinyModel.Bytes(Tensors());
        int refused = 0;
        for (int i = 0; i < 900; i++)
        {
            byte[] config = [.. soundConfig];
            byte[] weights = [.. soundWeights];
            byte[] target = i % 3 < 2 ? config : weights;
            for (int flips = random.Next(1, 4); flips > 0; flips--)
            {
                target[random.Next(target.Length)] = (byte)random.Next(256);
            }

            try
            {
                _ = Import(config, weights);
            }
            catch (AdapterFormatException)
            {
                refused++;
            }
        }

        output.WriteLine($"{refused} of 900 refused");
        Assert.InRange(refused, 300, 900);
    }

    private static JsonObject Config() => new()
    {
        ["peft_type"] = "ROUTED_LORA",
        ["base_model_name_or_path"] = "someone/tiny",
        ["task_type"] = "CAUSAL_LM",
        ["inference_mode"] = true,
        ["router_config"] = new JsonObject
        {
            ["adapters"] = new JsonArray("fr-legal", "de-legal", "code"),
            ["block_ranks"] = new JsonObject { [Q0] = new JsonArray(2, 0, 3), [F1] = new JsonArray(1, 2, 1) },
            ["temperature"] = 0.5,
            ["top_k"] = 2,
            ["bias"] = true,
        },
    };

    private static List<SafetensorsWriter.Tensor> Tensors()
    {
        Random random = new(4);
        return
        [
            TinyModel.Tensor(random, $"{Prefix}{Q0}.lora_A.weight", 5, 6),
            TinyModel.Tensor(random, $"{Prefix}{Q0}.lora_B.weight", 8, 5),
            TinyModel.Tensor(random, $"{Prefix}{Q0}.router_gate.weight", 3, 6),
            TinyModel.Tensor(random, $"{Prefix}{Q0}.router_gate.bias", 3),
            TinyModel.Tensor(random, $"{Prefix}{F1}.lora_A.weight", 4, 6),
            TinyModel.Tensor(random, $"{Prefix}{F1}.lora_B.weight", 10, 4),
            TinyModel.Tensor(random, $"{Prefix}{F1}.router_gate.weight", 3, 6),
            TinyModel.Tensor(random, $"{Prefix}{F1}.router_gate.bias", 3),
        ];
    }

    private static float[] Values(IEnumerable<SafetensorsWriter.Tensor> tensors, string name) =>
        MemoryMarshal.Cast<byte, float>(tensors.Single(tensor => tensor.Name == Prefix + name).Data.Span).ToArray();

    private ImportedAdapter Import(JsonObject config, IReadOnlyList<SafetensorsWriter.Tensor> tensors) =>
        Import(TinyModel.Bytes(config), TinyModel.Bytes(tensors));

    private ImportedAdapter Import(byte[] config, byte[] weights) =>
        new PeftImporter(TinyModel.Shape).Import(_folder.Write(config, weights), "routed");
}
