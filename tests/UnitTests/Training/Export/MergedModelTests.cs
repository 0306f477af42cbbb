using System.Text.Json;
using InferenceServer.Models.Merging;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;
using InferenceServer.TestKit.TinyModel;
using InferenceServer.Training.Export;
using InferenceServer.UnitTests.AdapterStore;
using InferenceServer.UnitTests.Transformer;
using Xunit;
using Xunit.Abstractions;

namespace InferenceServer.UnitTests.Training.Export;

/// <summary>A model written with an adapter folded in answers as the base with the adapter beside it.</summary>
[Trait("Category", "Training")]
public sealed class MergedModelTests(ITestOutputHelper output)
{
    private const double Bound = 2e-4;

    private static readonly string s_small = Path.Combine(AppContext.BaseDirectory, "Data", "golden");
    private static readonly string s_tiedBase = Path.Combine(s_small, "fixtures", "bases", "gemma2");
    private static readonly string[] s_notImported = ["LOHA", "LOKR"];
    private static readonly MergedModelOptions s_single = new() { IsSinglePrecision = true };
    private static readonly int[] s_prompt = [29, 95, 9, 41, 4, 3, 52, 5, 15, 67];

    [Fact]
    public void Small_golden_adapters_folded_into_a_model_give_the_logits_of_PEFT() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", folder => CheckFolded(s_small, folder), s_small);

    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Every_golden_adapter_folded_into_a_model_gives_the_logits_of_PEFT() =>
        GoldenCases.RunFolders(output, "fixtures/adapters/*/*", folder => CheckFolded(GoldenData.Root!, folder));

    [GoldenFact]
    [Trait("Category", "Golden")]
    public void Every_golden_base_keeps_its_tensors_bit_for_bit_where_nothing_changes() =>
        GoldenCases.RunFolders(output, "fixtures/bases/*", folder =>
        {
            using TemporaryFolder target = new();
            using GoldenModel golden = new(folder);
            MergedModelExporter.Write(golden.Model, folder, Nothing(golden.Model), target.Path);
            using GoldenModel written = new(target.Path);

            Assert.Equal(golden.Harness.Logits([new HarnessSequence(s_prompt)]), written.Harness.Logits([new HarnessSequence(s_prompt)]));
            foreach ((string name, (DType Type, byte[] Bytes) tensor) in Tensors(folder))
            {
                (DType type, byte[] bytes) = Tensors(target.Path)[name];
                Assert.Equal(tensor.Type, type);
                Assert.Equal(tensor.Bytes, bytes);
            }
        });

    [GoldenFact]
    [Trait("Category", "Golden")]
    public void A_fold_that_f16_cannot_hold_is_refused_and_written_as_f32()
    {
        string folder = Path.Combine(GoldenData.Root!, "fixtures", "bases", "llama_f16");
        using TemporaryFolder target = new();
        using GoldenModel golden = new(folder);
        AdapterWeights loud = Change(
            golden.Model, "o_proj", module => new LowRankDelta { OutputScale = [.. Enumerable.Repeat(1e7f, module.OutFeatures)] });

        MergeException error = Assert.Throws<MergeException>(() => MergedModelExporter.Write(golden.Model, folder, loud, target["f16"]));
        MergedModelExporter.Write(golden.Model, folder, loud, target["f32"], s_single);

        Assert.Contains("outside what F16 holds", error.Message, StringComparison.Ordinal);
        Assert.All(Tensors(target["f32"]).Values, tensor => Assert.Equal(DType.F32, tensor.Type));
    }

    [Theory]
    [InlineData("low rank of the head", true)]
    [InlineData("low rank of the embedding", true)]
    [InlineData("replaced head", true)]
    [InlineData("replaced embedding", true)]
    [InlineData("trained tokens", false)]
    [InlineData("norm", false)]
    public void Embedding_and_head_that_share_a_weight_get_two_only_where_they_differ(string what, bool isUntied)
    {
        using TemporaryFolder target = new();
        using GoldenModel golden = new(s_tiedBase);
        AdapterWeights adapter = ChangeOfTied(golden.Model, what);
        Assert.True(golden.Model.Shape.HasTiedEmbeddings);

        MergedModelExporter.Write(golden.Model, s_tiedBase, adapter, target.Path);

        using GoldenModel written = new(target.Path);
        Assert.Equal(!isUntied, written.Model.Shape.HasTiedEmbeddings);
        AssertSame(golden, adapter, written, Bound);
    }

    [Fact]
    public void A_bf16_model_is_rounded_to_its_own_type_unless_f32_is_asked_for()
    {
        using TemporaryFolder folder = new();
        TinyLlama tiny = new() { WeightType = DType.BF16 };
        tiny.Write(folder["base"]);
        new TinyLora { Rank = 8, Targets = ["q_proj", "down_proj"] }.Write(folder["lora"], tiny);
        using GoldenModel golden = new(folder["base"]);
        AdapterWeights adapter = golden.Import(folder["lora"]);

        MergedModelExporter.Write(golden.Model, folder["base"], adapter, folder["own"]);
        MergedModelExporter.Write(golden.Model, folder["base"], adapter, folder["f32"], s_single);

        Dictionary<string, (DType Type, byte[] Bytes)> before = Tensors(folder["base"]);
        Dictionary<string, (DType Type, byte[] Bytes)> after = Tensors(folder["own"]);
        Assert.Equal(before.Keys, after.Keys);
        string[] changed = [.. before.Keys.Where(name => !before[name].Bytes.AsSpan().SequenceEqual(after[name].Bytes))];
        Assert.Equal(2 * tiny.Layers, changed.Length);
        Assert.All(changed, name => Assert.Matches("q_proj|down_proj", name));
        Assert.All(after.Values, tensor => Assert.Equal(DType.BF16, tensor.Type));
        using GoldenModel own = new(folder["own"]);
        using GoldenModel single = new(folder["f32"]);
        AssertSame(golden, adapter, own, 5e-2);
        AssertSame(golden, adapter, single, Bound);
        Assert.Equal("bfloat16", Config(folder["own"]).GetProperty("torch_dtype").GetString());
        Assert.Equal("float32", Config(folder["f32"]).GetProperty("torch_dtype").GetString());
    }

    [Fact]
    public void Large_weights_go_into_shards_that_load_alike_and_strange_files_stay_behind()
    {
        using TemporaryFolder folder = new();
        new TinyLlama().Write(folder["base"]);
        File.WriteAllText(folder["base/notes.txt"], "not for everyone");
        using GoldenModel golden = new(folder["base"]);
        AdapterWeights adapter = Nothing(golden.Model);

        MergedModelExporter.Write(golden.Model, folder["base"], adapter, folder["sharded"], new MergedModelOptions { MaxShardBytes = 20_000 });

        string[] names = [.. Directory.GetFiles(folder["sharded"]).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];
        int shards = names.Count(name => name.EndsWith(".safetensors", StringComparison.Ordinal));
        Assert.True(shards > 2);
        Assert.Contains($"model-00001-of-{shards:D5}.safetensors", names);
        Assert.Equal(
            ["config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"],
            names.Where(name => !name.EndsWith(".safetensors", StringComparison.Ordinal)));
        using GoldenModel written = new(folder["sharded"]);
        Assert.Equal(golden.Harness.Logits([new HarnessSequence(s_prompt)]), written.Harness.Logits([new HarnessSequence(s_prompt)]));
    }

    [Fact]
    public void A_routed_adapter_is_refused_by_name_and_nothing_is_written()
    {
        using TemporaryFolder folder = new();
        new TinyLlama().Write(folder["base"]);
        using GoldenModel golden = new(folder["base"]);
        AdapterWeights routed = Change(golden.Model, "layers.0.self_attn.q_proj", module => new LowRankDelta
        {
            A = Matrix(4, module.InFeatures, 1),
            B = Matrix(module.OutFeatures, 4, 2),
            Gate = new RankGate { BlockRanks = [2, 2], Weight = Matrix(2, module.InFeatures, 3), TopK = 1 },
        });

        MergeException error = Assert.Throws<MergeException>(
            () => MergedModelExporter.Write(golden.Model, folder["base"], routed, folder["merged"]));

        Assert.StartsWith("'hand-made' cannot be folded into a model of its own: it is routed, model.layers.0.self_attn.q_proj", error.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder["merged"]));
    }

    private static void CheckFolded(string root, string folder)
    {
        using ExpectedTensors expected = new(folder);
        if (s_notImported.Contains(expected.Case.GetProperty("peft_type").GetString()!))
        {
            return;
        }

        string baseFolder = Path.Combine(root, "fixtures", expected.Case.GetProperty("base").GetString()!);
        using TemporaryFolder target = new();
        using GoldenModel golden = new(baseFolder);
        AdapterWeights adapter = golden.Import(folder);
        if (golden.Model.Shape.Modules.FirstOrDefault(module => !module.HasBias && adapter.Deltas[module.Index]?.OutputBias is not null) is { } bare)
        {
            MergeException error = Assert.Throws<MergeException>(
                () => MergedModelExporter.Write(golden.Model, baseFolder, adapter, target["merged"]));
            Assert.Contains($"it adds a bias to {bare.Path}, which has none", error.Message, StringComparison.Ordinal);
            return;
        }

        MergedModelExporter.Write(golden.Model, baseFolder, adapter, target["merged"], s_single);
        using GoldenModel written = new(target["merged"]);
        AssertSame(golden, adapter, written, Bound);
        HarnessSequence[] batch = [.. Enumerable.Range(0, expected.Count("seq")).Select(i => new HarnessSequence(expected.Ints($"seq{i}.input_ids")))];
        float[][] logits = written.Harness.Logits(batch);
        int[][] greedy = written.Harness.Greedy(batch, expected.Ints("seq0.greedy").Length);
        for (int i = 0; i < batch.Length; i++)
        {
            Tolerance.AssertClose(expected.Floats($"seq{i}.logits"), logits[i], Bound, $"sequence {i}");
            Assert.Equal(expected.Ints($"seq{i}.greedy"), greedy[i]);
        }
    }

    private static void AssertSame(GoldenModel golden, AdapterWeights adapter, GoldenModel written, double bound)
    {
        using DeviceAdapter device = golden.OnDevice(adapter);
        float[] beside = golden.Harness.Logits([new HarnessSequence(s_prompt, new LoraEntry(device, 1f))])[0];
        float[] plain = golden.Harness.Logits([new HarnessSequence(s_prompt)])[0];

        Assert.NotEqual(plain, beside);
        Tolerance.AssertClose(beside, written.Harness.Logits([new HarnessSequence(s_prompt)])[0], bound, "folded");
    }

    private static AdapterWeights Nothing(TransformerModel model) => new("nothing", new LowRankDelta?[model.Shape.Modules.Count]);

    private static AdapterWeights Change(TransformerModel model, string pathEnd, Func<ModuleShape, LowRankDelta> make) => new(
        "hand-made",
        [.. model.Shape.Modules.Select(module => module.Path.EndsWith(pathEnd, StringComparison.Ordinal) ? make(module) : null)]);

    private static AdapterWeights ChangeOfTied(TransformerModel model, string what)
    {
        string embedding = model.Shape.Modules.First(module => module.Kind == ModuleKind.Embedding).Path;
        ReplacedRows rows = new([3, 29, 95], Matrix(3, model.Config.HiddenSize, 7));
        return what switch
        {
            "low rank of the head" => Change(model, model.Shape.OutputHeadPath, LowRank),
            "low rank of the embedding" => Change(model, embedding, LowRank),
            "replaced head" => Change(model, model.Shape.OutputHeadPath, Replaced),
            "replaced embedding" => Change(model, embedding, Replaced),
            "norm" => Change(model, "input_layernorm", module => new LowRankDelta { Replacement = Matrix(1, module.OutFeatures, 5) }),
            _ => new AdapterWeights(
                "hand-made",
                [
                    .. model.Shape.Modules.Select(module => module.Path == embedding || module.Path == model.Shape.OutputHeadPath
                        ? new LowRankDelta { ReplacedRows = rows }
                        : null),
                ]),
        };

        static LowRankDelta LowRank(ModuleShape module) =>
            new() { A = Matrix(2, module.InFeatures, 1), B = Matrix(module.OutFeatures, 2, 2) };

        // An embedding is [vocabulary, hidden], its module's outputs are the hidden ones.
        static LowRankDelta Replaced(ModuleShape module) => new()
        {
            Replacement = module.Kind == ModuleKind.Embedding
                ? Matrix(module.InFeatures, module.OutFeatures, 3)
                : Matrix(module.OutFeatures, module.InFeatures, 3),
        };
    }

    private static HostMatrix Matrix(int rows, int columns, int seed)
    {
        Random random = new(seed);
        return new HostMatrix(rows, columns, [.. Enumerable.Range(0, rows * columns).Select(_ => (random.NextSingle() - 0.5f) / 2)]);
    }

    private static JsonElement Config(string folder) => JsonElement.Parse(File.ReadAllBytes(Path.Combine(folder, "config.json")));

    private static Dictionary<string, (DType Type, byte[] Bytes)> Tensors(string folder)
    {
        Dictionary<string, (DType Type, byte[] Bytes)> tensors = new(StringComparer.Ordinal);
        foreach (string path in Directory.GetFiles(folder, "model*.safetensors"))
        {
            using SafetensorsFile file = SafetensorsFile.Open(path);
            foreach (SafetensorsEntry entry in file.Entries.Values)
            {
                tensors.Add(entry.Name, (entry.Type, file.Bytes(entry, 0, (int)entry.ByteCount).ToArray()));
            }
        }

        return tensors;
    }
}
