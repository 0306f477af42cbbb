using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using Xunit;

namespace InferenceServer.UnitTests.AdapterStore;

public sealed class PeftImporterTests : IDisposable
{
    private const string Q0 = "model.layers.0.self_attn.q_proj";
    private const string V1 = "model.layers.1.self_attn.v_proj";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Alpha_over_r_is_folded_into_B_and_the_manifest_tells_what_was_found()
    {
        List<SafetensorsWriter.Tensor> tensors = TinyModel.LoraTensors(1, 2, "q_proj", "v_proj");

        ImportedAdapter adapter = Import(TinyModel.Config(("lora_alpha", 5), ("task_type", "CAUSAL_LM")), tensors);

        LowRankDelta delta = Delta(adapter, Q0);
        Assert.Equal(Values(tensors, $"base_model.model.{Q0}.lora_A.weight"), delta.A!.Values);
        Assert.Equal(Values(tensors, $"base_model.model.{Q0}.lora_B.weight").Select(value => value * 2.5f), delta.B!.Values);
        AdapterManifest manifest = adapter.Manifest;
        Assert.Equal((AdapterMethod.Lora, 2, 5.0, "someone/tiny", "F32"), (manifest.Method, manifest.Rank, manifest.Alpha, manifest.BaseModelName, manifest.ElementType));
        Assert.Equal(4, manifest.TargetModules.Count);
        Assert.All(manifest.Ranks, rank => Assert.Equal(2, rank));
        Assert.Equal(manifest.HostBytes, manifest.MatrixBytes);
        Assert.Equal(tensors.Sum(tensor => tensor.Data.Length / 4), manifest.Parameters);
        Assert.Equal("\"CAUSAL_LM\"", manifest.Extras["task_type"]);
    }

    [Theory]
    [InlineData("""["q_proj"]""", null, null, null, "0.q 1.q")]
    [InlineData("""["self_attn.q_proj", "model.layers.1.self_attn.v_proj"]""", null, null, null, "0.q 1.q 1.v")]
    [InlineData("""["proj"]""", null, null, null, "")]
    [InlineData("\".*(q|v)_proj\"", null, null, null, "0.q 0.v 1.q 1.v")]
    [InlineData("\"q_proj\"", null, null, null, "")]
    [InlineData("\"model.layers.(?P<n>[01]).self_attn.(?!v).*\"", null, null, null, "0.q 1.q")]
    [InlineData("""["q_proj", "v_proj"]""", """["v_proj"]""", null, null, "0.q 1.q")]
    [InlineData("""["q_proj", "v_proj"]""", "\".*0.*\"", null, null, "1.q 1.v")]
    [InlineData("""["q_proj", "v_proj"]""", null, "1", null, "1.q 1.v")]
    [InlineData("""["q_proj", "v_proj"]""", null, "[0]", "\"layers\"", "0.q 0.v")]
    [InlineData("""["q_proj", "v_proj"]""", null, "[0]", """["h", "layers"]""", "0.q 0.v")]
    [InlineData("""["q_proj", "v_proj"]""", null, "[0]", "\"h\"", "")]
    [InlineData("""["q_proj", "v_proj"]""", null, "[]", "[]", "0.q 0.v 1.q 1.v")]
    [InlineData("""["model.layers.1.self_attn.v_proj"]""", null, "[0]", null, "1.v")]
    public void Targets_are_found_by_the_rules_of_PEFT(string targets, string? excludes, string? layers, string? pattern, string expected)
    {
        JsonObject config = TinyModel.Config(
            ("target_modules", JsonNode.Parse(targets)),
            ("exclude_modules", excludes is null ? null : JsonNode.Parse(excludes)),
            ("layers_to_transform", layers is null ? null : JsonNode.Parse(layers)),
            ("layers_pattern", pattern is null ? null : JsonNode.Parse(pattern)));
        string[] wanted = expected.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        List<SafetensorsWriter.Tensor> tensors = [.. TinyModel.LoraTensors(1, 2, "q_proj", "v_proj")
            .Where(tensor => wanted.Any(one => tensor.Name.Contains($".{one[0]}.self_attn.{one[2]}", StringComparison.Ordinal)))];
        if (wanted.Length == 0)
        {
            AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => Import(config, TinyModel.LoraTensors(1, 2, "q_proj")));
            Assert.Equal("target_modules", error.Subject);
            return;
        }

        ImportedAdapter adapter = Import(config, tensors);

        Assert.Equal(wanted, adapter.Manifest.TargetModules.Select(path => $"{path.Split('.')[2]}.{path.Split('.')[^1][0]}"));
    }

    [Fact]
    public void All_linear_means_every_linear_module_but_the_output_head()
    {
        ImportedAdapter adapter = Import(TinyModel.Config(("target_modules", "all-linear")), TinyModel.LoraTensors(1, 2, "q_proj", "v_proj", "c_fc"));

        Assert.Equal(6, adapter.Manifest.TargetModules.Count);
    }

    [Fact]
    public void The_first_matching_pattern_gives_rank_and_alpha()
    {
        JsonObject config = TinyModel.Config(
            ("rank_pattern", new JsonObject { ["layers.1.self_attn.q_proj"] = 3, ["q_proj"] = 1 }),
            ("alpha_pattern", new JsonObject { [".*v_proj"] = 10, ["v_proj"] = 1 }));
        List<SafetensorsWriter.Tensor> tensors =
        [
            .. TinyModel.LoraTensors(1, 1, "q_proj").Where(tensor => tensor.Name.Contains("layers.0", StringComparison.Ordinal)),
            .. TinyModel.LoraTensors(1, 3, "q_proj").Where(tensor => tensor.Name.Contains("layers.1", StringComparison.Ordinal)),
            .. TinyModel.LoraTensors(2, 2, "v_proj"),
        ];

        ImportedAdapter adapter = Import(config, tensors);

        Assert.Equal([1, 2, 3, 2], adapter.Manifest.Ranks);
        Assert.Equal(3, adapter.Manifest.MaxRank);
        Assert.Equal(Values(tensors, $"base_model.model.{V1}.lora_B.weight").Select(value => value * 5), Delta(adapter, V1).B!.Values);
        Assert.Equal(Values(tensors, $"base_model.model.{Q0}.lora_B.weight").Select(value => value * 4), Delta(adapter, Q0).B!.Values);
    }

    [Fact]
    public void DoRA_rows_have_the_length_of_the_magnitude()
    {
        (byte[] config, byte[] weights) = TinyModel.Adapter(3, usesDora: true);
        ImportedAdapter adapter = new PeftImporter(TinyModel.Shape).Import(_folder.Write(config, weights), "dora");
        using SafetensorsFile file = SafetensorsFile.Open(_folder["adapter_model.safetensors"]);

        ModuleShape module = TinyModel.Shape.Find(Q0)!;
        LowRankDelta delta = Delta(adapter, Q0);
        float[] magnitude = file.ReadSingles(file.Find($"base_model.model.{Q0}.lora_magnitude_vector"));

        for (int row = 0; row < module.OutFeatures; row++)
        {
            double sum = 0;
            for (int column = 0; column < module.InFeatures; column++)
            {
                double value = delta.OutputScale![row] * TinyModel.Weight(1, module, row, column);
                for (int k = 0; k < delta.Rank; k++)
                {
                    value += delta.B!.Row(row)[k] * delta.A!.Row(k)[column];
                }

                sum += value * value;
            }

            Assert.Equal(Math.Abs(magnitude[row]), Math.Sqrt(sum), 5);
        }
    }

    [Fact]
    public void Biases_are_kept_as_the_difference_to_the_base()
    {
        Random random = new(4);
        List<SafetensorsWriter.Tensor> tensors = TinyModel.LoraTensors(1, 2, "q_proj", "v_proj");
        tensors.Add(TinyModel.Tensor(random, $"base_model.model.{Q0}.base_layer.bias", 8));
        tensors.Add(TinyModel.Tensor(random, "base_model.model.model.layers.0.mlp.c_fc.bias", 10));
        tensors.Add(TinyModel.Tensor(random, "base_model.model.model.layers.1.input_layernorm.bias", 6));

        ImportedAdapter adapter = Import(TinyModel.Config(("bias", "all")), tensors);

        foreach ((string path, string name) in (ReadOnlySpan<(string, string)>)[
            (Q0, $"base_model.model.{Q0}.base_layer.bias"),
            ("model.layers.0.mlp.c_fc", "base_model.model.model.layers.0.mlp.c_fc.bias"),
            ("model.layers.1.input_layernorm", "base_model.model.model.layers.1.input_layernorm.bias")])
        {
            float[] expected = Values(tensors, name);
            float[] original = TinyModel.Bias(TinyModel.Shape.Find(path)!)!;
            Assert.Equal(expected.Zip(original, (value, before) => value - before), Delta(adapter, path).OutputBias!);
        }

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => Import(TinyModel.Config(), tensors));
        Assert.Contains("bias", error.Subject, StringComparison.Ordinal);
    }

    [Fact]
    public void Saved_modules_replace_weights_of_every_kind()
    {
        Random random = new(5);
        List<SafetensorsWriter.Tensor> tensors = TinyModel.LoraTensors(1, 2, "q_proj", "v_proj");
        foreach (ModuleShape module in TinyModel.Shape.Modules.Where(module => module.Name is "c_fc" or "input_layernorm" or "lm_head" or "embed_tokens"))
        {
            long[] shape = module.Kind switch
            {
                ModuleKind.Norm => [module.OutFeatures],
                ModuleKind.Linear => [module.OutFeatures, module.InFeatures],
                _ => [module.InFeatures, module.OutFeatures],
            };
            tensors.Add(TinyModel.Tensor(random, $"base_model.model.{module.Path}.weight", shape));
            if (module.HasBias)
            {
                tensors.Add(TinyModel.Tensor(random, $"base_model.model.{module.Path}.bias", module.OutFeatures));
            }
        }

        JsonArray saved = ["mlp", "input_layernorm", "lm_head", "embed_tokens"];
        ImportedAdapter adapter = Import(TinyModel.Config(("modules_to_save", saved)), tensors);

        Assert.Equal(6, adapter.Manifest.ReplacedModules.Count);
        HostMatrix conv = Delta(adapter, "model.layers.0.mlp.c_fc").Replacement!;
        float[] stored = Values(tensors, "base_model.model.model.layers.0.mlp.c_fc.weight");
        Assert.Equal((10, 6), (conv.Rows, conv.Columns));
        Assert.Equal(stored[(2 * 10) + 7], conv.Row(7)[2]);
        Assert.Equal(1, Delta(adapter, "model.layers.1.input_layernorm").Replacement!.Rows);
        Assert.NotNull(Delta(adapter, "model.layers.1.input_layernorm").OutputBias);
        Assert.Equal(Values(tensors, "base_model.model.model.embed_tokens.weight"), Delta(adapter, "model.embed_tokens").Replacement!.Values);

        tensors.RemoveAll(tensor => tensor.Name.EndsWith("layers.1.mlp.c_fc.bias", StringComparison.Ordinal));
        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => Import(TinyModel.Config(("modules_to_save", saved.DeepClone())), tensors));
        Assert.Equal("model.layers.1.mlp.c_fc", error.Subject);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Trained_tokens_are_sorted_and_reach_a_tied_output_head(bool isTied)
    {
        List<SafetensorsWriter.Tensor> tensors = TinyModel.LoraTensors(1, 2, "q_proj", "v_proj");
        SafetensorsWriter.Tensor rows = TinyModel.Tensor(new Random(6), "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", 3, 6);
        tensors.Add(rows);
        JsonObject config = TinyModel.Config(("trainable_token_indices", new JsonObject { ["embed_tokens"] = new JsonArray(9, 2, 4) }));

        _folder.Write(TinyModel.Bytes(config), TinyModel.Bytes(tensors));
        ImportedAdapter adapter = new PeftImporter(TinyModel.Create(1, isTied)).Import(_folder.Path, "tokens");

        ReplacedRows replaced = Delta(adapter, "model.embed_tokens").ReplacedRows!;
        Assert.Equal([2, 4, 9], replaced.Tokens);
        Assert.Equal(MemoryMarshal.Cast<byte, float>(rows.Data.Span)[..6], replaced.Values.Row(2));
        ModuleShape head = TinyModel.Shape.Find("lm_head")!;
        Assert.Equal(isTied ? replaced : null, adapter.Weights.Deltas[head.Index]?.ReplacedRows);
    }

    [Fact]
    public void A_copy_of_the_base_embedding_is_ignored_and_a_changed_one_refused()
    {
        ModuleShape head = TinyModel.Shape.Find("lm_head")!;
        float[] original = new float[head.OutFeatures * head.InFeatures];
        TinyModel.Shape.ReadRows(head, 0, original);
        List<SafetensorsWriter.Tensor> Tensors(string name) =>
        [
            .. TinyModel.LoraTensors(1, 2, "q_proj", "lm_head"),
            SafetensorsWriter.FromSingles($"base_model.model.lm_head.{name}", [head.OutFeatures, head.InFeatures], original),
        ];
        JsonObject config = TinyModel.Config(("target_modules", new JsonArray("q_proj", "lm_head")));

        Assert.Null(Delta(Import(config, Tensors("base_layer.weight")), "lm_head").Replacement);
        Assert.Null(Delta(Import(config, Tensors("weight")), "lm_head").Replacement);
        original[17] += 0.1f;
        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => Import(config, Tensors("base_layer.weight")));
        Assert.Contains("a changed base weight", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AdaLoRA_keeps_init_r_in_its_scale_and_may_drop_a_module_to_rank_0()
    {
        JsonObject config = TinyModel.Config(
            ("peft_type", "ADALORA"),
            ("init_r", 4),
            ("target_modules", new JsonArray("v_proj")),
            ("rank_pattern", new JsonObject
            {
                ["model.layers.0.self_attn.v_proj.lora_E"] = new JsonArray(false, false, false, false),
                ["model.layers.1.self_attn.v_proj.lora_E"] = new JsonArray(true, false, true, false),
            }));
        Random random = new(7);
        List<SafetensorsWriter.Tensor> tensors = [];
        for (int layer = 0; layer < 2; layer++)
        {
            string path = $"base_model.model.model.layers.{layer}.self_attn.v_proj";
            tensors.AddRange([
                TinyModel.Tensor(random, $"{path}.lora_A", 2 * layer, 6),
                TinyModel.Tensor(random, $"{path}.lora_B", 4, 2 * layer),
                TinyModel.Tensor(random, $"{path}.lora_E", 2 * layer, 1),
            ]);
        }

        ImportedAdapter adapter = Import(config, tensors);

        Assert.Equal([0, 2], adapter.Manifest.Ranks);
        Assert.Equal(0, Delta(adapter, "model.layers.0.self_attn.v_proj").Rank);
        float e = Values(tensors, $"base_model.model.{V1}.lora_E")[1] * (float)(4 / (4 + 1e-5));
        Assert.Equal(Values(tensors, $"base_model.model.{V1}.lora_B")[1] * e, Delta(adapter, V1).B!.Values[1], 6);
    }

    [Fact]
    public void IA3_scales_outputs_with_their_bias_or_inputs()
    {
        JsonObject config = TinyModel.Config(
            ("peft_type", "IA3"), ("target_modules", new JsonArray("q_proj", "c_fc")), ("feedforward_modules", new JsonArray("c_fc")), ("r", null), ("lora_alpha", null));
        Random random = new(8);
        List<SafetensorsWriter.Tensor> tensors = [];
        for (int layer = 0; layer < 2; layer++)
        {
            tensors.Add(TinyModel.Tensor(random, $"base_model.model.model.layers.{layer}.self_attn.q_proj.ia3_l", 8, 1));
            tensors.Add(TinyModel.Tensor(random, $"base_model.model.model.layers.{layer}.mlp.c_fc.ia3_l", 1, 6));
        }

        ImportedAdapter adapter = Import(config, tensors);

        LowRankDelta query = Delta(adapter, Q0);
        float[] factors = Values(tensors, $"base_model.model.{Q0}.ia3_l");
        Assert.Equal(factors, query.OutputScale!);
        Assert.Equal(factors.Zip(TinyModel.Bias(TinyModel.Shape.Find(Q0)!)!, (l, b) => (l - 1) * b), query.OutputBias!);
        Assert.Equal(Values(tensors, "base_model.model.model.layers.1.mlp.c_fc.ia3_l"), Delta(adapter, "model.layers.1.mlp.c_fc").InputScale!);
        Assert.Equal(0, adapter.Manifest.MaxRank);
    }

    [Fact]
    public void VeRA_without_projections_draws_what_the_key_gives()
    {
        JsonObject config = TinyModel.Config(
            ("peft_type", "VERA"), ("lora_alpha", null), ("projection_prng_key", 42), ("save_projection", false), ("target_modules", new JsonArray("q_proj", "v_proj")));
        Random random = new(9);
        List<SafetensorsWriter.Tensor> tensors = [.. TinyModel.Shape.Modules.Where(module => module.Name is "q_proj" or "v_proj").SelectMany(
            module => new[]
            {
                TinyModel.Tensor(random, $"base_model.model.{module.Path}.vera_lambda_b", module.OutFeatures),
                TinyModel.Tensor(random, $"base_model.model.{module.Path}.vera_lambda_d", 2),
            })];
        (float[] a, float[] b) = VeraProjection.Draw(42, 2, 6, 8);

        ImportedAdapter drawn = Import(config, tensors);
        tensors.Add(SafetensorsWriter.FromSingles("base_model.vera_A", [2, 6], a));
        tensors.Add(SafetensorsWriter.FromSingles("base_model.vera_B", [8, 2], b));
        ImportedAdapter saved = Import(config, tensors);

        Assert.Equal(Delta(saved, V1).A!.Values, Delta(drawn, V1).A!.Values);
        Assert.Equal(Delta(saved, V1).B!.Values, Delta(drawn, V1).B!.Values);
        config["save_projection"] = true;
        tensors.RemoveRange(tensors.Count - 2, 2);
        Assert.Throws<AdapterFormatException>(() => Import(config, tensors));
    }

    [Theory]
    [InlineData("peft_type", "\"LOHA\"")]
    [InlineData("loftq_config", """{"loftq_bits": 4}""")]
    [InlineData("corda_config", """{"x": 1}""")]
    [InlineData("lora_ga_config", """{"x": 1}""")]
    [InlineData("alora_invocation_tokens", "[1, 2]")]
    [InlineData("arrow_config", """{"x": 1}""")]
    [InlineData("layer_replication", "[[0, 2]]")]
    [InlineData("target_parameters", """["x"]""")]
    [InlineData("use_qalora", "true")]
    [InlineData("use_bdlora", "true")]
    [InlineData("velora_config", """{"x": 1}""")]
    [InlineData("monteclora_config", """{"x": 1}""")]
    [InlineData("megatron_config", """{"x": 1}""")]
    [InlineData("init_lora_weights", "\"pissa\"")]
    [InlineData("init_lora_weights", "\"pissa_niter_16\"")]
    [InlineData("init_lora_weights", "\"olora\"")]
    [InlineData("init_lora_weights", "\"loftq\"")]
    [InlineData("some_field_of_tomorrow", "0.5")]
    [InlineData("modules_to_save", """["classifier"]""")]
    [InlineData("bias", "\"some\"")]
    [InlineData("r", "513")]
    public void What_changes_the_maths_and_is_not_supported_is_refused_by_name(string field, string value)
    {
        AdapterFormatException error = Assert.Throws<AdapterFormatException>(
            () => Import(TinyModel.Config((field, JsonNode.Parse(value))), TinyModel.LoraTensors(1, 2, "q_proj", "v_proj")));

        Assert.Equal(field, error.Subject);
        Assert.Equal("adapter_config.json", error.File);
    }

    [Theory]
    [InlineData("loftq_config", "{}")]
    [InlineData("eva_config", "null")]
    [InlineData("init_lora_weights", "\"gaussian\"")]
    [InlineData("init_lora_weights", "false")]
    [InlineData("use_qalora", "false")]
    [InlineData("layer_replication", "null")]
    [InlineData("target_parameters", "[]")]
    [InlineData("some_field_of_tomorrow", "false")]
    [InlineData("qalora_group_size", "16")]
    [InlineData("megatron_core", "\"megatron.core\"")]
    [InlineData("lora_dropout", "0.05")]
    public void Fields_that_are_off_or_for_training_only_are_accepted_and_kept(string field, string value)
    {
        ImportedAdapter adapter = Import(TinyModel.Config((field, JsonNode.Parse(value))), TinyModel.LoraTensors(1, 2, "q_proj", "v_proj"));

        Assert.True(field == "init_lora_weights" || adapter.Manifest.Extras[field] == value);
    }

    [Fact]
    public void Tied_weights_that_should_change_together_are_refused()
    {
        JsonObject config = TinyModel.Config(("target_modules", new JsonArray("lm_head")), ("ensure_weight_tying", true));
        _folder.Write(TinyModel.Bytes(config), TinyModel.Bytes(TinyModel.LoraTensors(1, 2, "lm_head")));

        _ = new PeftImporter(TinyModel.Shape).Import(_folder.Path, "untied");
        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => new PeftImporter(TinyModel.Create(1, isTied: true)).Import(_folder.Path, "tied"));

        Assert.Equal("ensure_weight_tying", error.Subject);
    }

    [Fact]
    public void A_rank_over_the_limit_names_the_limit()
    {
        _folder.Write(TinyModel.Bytes(TinyModel.Config(("r", 8))), TinyModel.Bytes(TinyModel.LoraTensors(1, 8, "q_proj", "v_proj")));

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(
            () => new PeftImporter(TinyModel.Shape, new AdapterLimits { MaxRank = 4 }).Import(_folder.Path, "x"));
        Assert.Contains("MaxRank 4", error.Message, StringComparison.Ordinal);
        AdapterFormatException tooBig = Assert.Throws<AdapterFormatException>(
            () => new PeftImporter(TinyModel.Shape, new AdapterLimits { MaxHostBytes = 100 }).Import(_folder.Path, "x"));
        Assert.Contains("MaxHostBytes 100", tooBig.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("adapter_model.bin")]
    [InlineData("adapter_model.pt")]
    [InlineData("weights.pkl")]
    public void A_pickle_is_named_and_never_opened(string name)
    {
        File.WriteAllBytes(_folder["adapter_config.json"], TinyModel.Bytes(TinyModel.Config()));
        using FileStream held = new(_folder[name], FileMode.CreateNew, FileAccess.Write, FileShare.None);

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => new PeftImporter(TinyModel.Shape).Import(_folder.Path, "x"));

        Assert.Contains($"'{name}', a pickle, which is never opened", error.Message, StringComparison.Ordinal);
    }

    private ImportedAdapter Import(JsonObject config, IReadOnlyList<SafetensorsWriter.Tensor> tensors) =>
        new PeftImporter(TinyModel.Shape).Import(_folder.Write(TinyModel.Bytes(config), TinyModel.Bytes(tensors)), "test");

    private static LowRankDelta Delta(ImportedAdapter adapter, string path) => adapter.Weights.Deltas[TinyModel.Shape.Find(path)!.Index]!;

    private static float[] Values(IEnumerable<SafetensorsWriter.Tensor> tensors, string name) =>
        MemoryMarshal.Cast<byte, float>(tensors.Single(tensor => tensor.Name == name).Data.Span).ToArray();
}
