using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit.Golden;
using InferenceServer.Training;
using InferenceServer.Training.Export;
using InferenceServer.Training.Methods;
using InferenceServer.Training.Optimisation;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>LoRA-drop: the choice, the shared pair, the export as plain LoRA.</summary>
[Trait("Category", "Training")]
public sealed class LoraDropTests : IDisposable
{
    private const string Fresh = """
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"], "lora_drop_config": {"threshold": 0.6}}
        """;

    private const string Chosen = """
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "lora_drop_config": {"shared_modules":
         ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"]}}
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("lora-drop-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(0.9, new[] { true, true, false, true, false })]
    [InlineData(0.6, new[] { false, true, false, true, false })]
    [InlineData(0.4, new[] { false, true, false, false, false })]
    [InlineData(1.0, new[] { true, true, true, true, false })]
    public void The_smallest_set_that_reaches_the_threshold_is_kept(double threshold, bool[] expected) =>
        Assert.Equal(expected, LoraDropSelection.Kept([20, 40, 10, 30, 0], threshold));

    [Fact]
    public void Of_equally_important_modules_the_first_are_kept() =>
        Assert.Equal([true, true, false, false], LoraDropSelection.Kept([5, 5, 5, 5], 0.5));

    [Fact]
    public void The_warm_up_measures_what_its_LoRA_adds_and_chooses_by_it()
    {
        using TrainingBench bench = new();
        AdapterRecipe recipe = TrainingBench.Recipe(Fresh);
        SupervisedBatch[] sample = [TrainingBench.Batch, TrainingBench.Batch];

        LoraDropChoice choice = LoraDropWarmUp.Choose(
            bench.Model, bench.Backend, bench.Operations, recipe, TrainingBench.Options, sample);

        Assert.Equal(6, choice.Importance.Count);
        foreach (IGrouping<string, KeyValuePair<string, double>> group in choice.Importance.GroupBy(pair => pair.Key.Split('.')[^1]))
        {
            Assert.Equal(1, group.Sum(pair => pair.Value), 1e-12);
            string[] paths = [.. group.Select(pair => pair.Key)];
            bool[] kept = LoraDropSelection.Kept([.. group.Select(pair => pair.Value)], 0.6);
            Assert.Equal(paths.Where((_, i) => !kept[i]), choice.Recipe.LoraDrop!.SharedModules!.Where(path => paths.Contains(path)));
        }

        using Trainer trainer = bench.Adapter(choice.Recipe);
        TrainingStep first = trainer.Step(TrainingBench.Batch);
        trainer.Step(TrainingBench.Batch);
        Assert.True(trainer.Evaluate(TrainingBench.Batch) < first.Loss);
    }

    [Fact]
    public void Importance_is_the_mean_square_of_the_branch_over_the_rows()
    {
        // The first layer's q_proj reads normed embeddings, whatever the adapter has learnt, so its input can be computed by hand.
        const string Config = """{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"], "layers_to_transform": [0]}""";
        using TrainingBench bench = new();
        using Trainer trainer = bench.Adapter(Config);
        trainer.Step(TrainingBench.Batch);
        LoraMethod method = Assert.IsType<LoraMethod>(Assert.Single(trainer.Modules));

        method.Meter = new OutputMeter();
        trainer.Evaluate(TrainingBench.Batch);
        double once = method.Meter.MeanSquare;
        trainer.Evaluate(TrainingBench.Batch);

        double[] squares = [.. TrainingBench.Batch.Sequences.SelectMany(sequence => sequence.Tokens).Select(token => Square(bench, method, token))];
        double expected = squares.Average();
        Assert.True(expected > 0);
        Assert.Equal(1, once / expected, 1e-5);
        Assert.Equal(once, method.Meter.MeanSquare, 1e-15);
    }

    [Fact]
    public void Modules_that_share_have_one_pair_with_the_sum_of_their_gradients()
    {
        using TrainingBench bench = new();
        using Trainer trainer = bench.Adapter(Chosen);
        using Trainer plain = bench.Adapter("""{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}""");
        Assert.Equal(6, trainer.Parameters.Count);
        Assert.Equal(8, plain.Parameters.Count);
        Parameter[] own = [.. trainer.Parameters.Where(parameter => parameter.Name.Contains("q_proj", StringComparison.Ordinal))];
        Assert.Equal(["model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.0.self_attn.q_proj.lora_B.weight"], own.Select(p => p.Name));

        // The same values in a plain LoRA, twice.
        trainer.Step(TrainingBench.Batch);
        foreach (Parameter parameter in plain.Parameters)
        {
            string name = parameter.Name.Replace("layers.1.self_attn.q_proj", "layers.0.self_attn.q_proj", StringComparison.Ordinal);
            bench.Backend.Write(bench.Read(trainer.Parameters.Single(other => other.Name == name).Value), parameter.ValueBuffer);
        }

        Assert.Equal(plain.ComputeGradients(TrainingBench.Batch), trainer.ComputeGradients(TrainingBench.Batch));
        foreach (Parameter shared in own)
        {
            string second = shared.Name.Replace("layers.0", "layers.1", StringComparison.Ordinal);
            float[] sum =
            [
                .. bench.Read(plain.Parameters.Single(p => p.Name == shared.Name).Gradient)
                    .Zip(bench.Read(plain.Parameters.Single(p => p.Name == second).Gradient), (a, b) => a + b),
            ];
            Tolerance.AssertClose(sum, bench.Read(shared.Gradient), 1e-5, "gradient of " + shared.Name);
        }
    }

    [Fact]
    public void The_export_is_a_plain_LoRA_with_the_shared_pair_in_each_module()
    {
        using TrainingBench bench = new();
        using Trainer trainer = bench.Adapter(Chosen);
        trainer.Step(TrainingBench.Batch);
        trainer.Step(TrainingBench.Batch);

        PeftExporter.Write(trainer, _folder);

        AdapterWeights weights = new PeftImporter(bench.Model.Shape).Import(_folder, "dropped").Weights;
        Assert.Equal(4, weights.Deltas.OfType<LowRankDelta>().Count());
        Assert.DoesNotContain("lora_drop", File.ReadAllText(Path.Combine(_folder, PeftImporter.ConfigFileName)), StringComparison.Ordinal);
        Tolerance.AssertClose(trainer.Logits(TrainingBench.Tokens), bench.Serve(_folder), 1e-5, "served logits");
        using Trainer next = bench.Adapter(Chosen, start: _folder);
        Assert.Equal(trainer.Evaluate(TrainingBench.Batch), next.Evaluate(TrainingBench.Batch));
    }

    [Fact]
    public void A_warm_up_that_changes_nothing_chooses_nothing()
    {
        using TrainingBench bench = new();
        TrainingOptions still = TrainingBench.Options with { LearningRate = 0 };

        TrainingFailedException error = Assert.Throws<TrainingFailedException>(() => LoraDropWarmUp.Choose(
            bench.Model, bench.Backend, bench.Operations, TrainingBench.Recipe(Fresh), still, [TrainingBench.Batch]));

        Assert.Contains("q_proj", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "lora_drop_config": {}}""", "lora_drop_config.shared_modules")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "lora_drop_config": {"threshold": 1.5}}""", "lora_drop_config.threshold")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "lora_drop_config": {"treshold": 0.5}}""", "lora_drop_config.treshold")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "lora_drop_config": {"shared_modules": ["x"]}}""", "lora_drop_config.shared_modules")]
    [InlineData("""{"peft_type": "LORA", "use_dora": true, "target_modules": ["q_proj"], "lora_drop_config": {}}""", "use_dora")]
    [InlineData("""{"peft_type": "LORA", "init_lora_weights": "pissa", "target_modules": ["q_proj"], "lora_drop_config": {}}""", "init_lora_weights")]
    [InlineData("""{"peft_type": "VERA", "target_modules": ["q_proj"], "lora_drop_config": {}}""", "lora_drop_config")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["embed_tokens"], "lora_drop_config": {"shared_modules": []}}""", "target_modules")]
    public void What_does_not_go_together_is_refused_by_name(string config, string field)
    {
        using TrainingBench bench = new();

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => bench.Adapter(config).Dispose());

        Assert.Contains($"'{field}'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_LoRA_FA_optimiser_refuses_shared_pairs()
    {
        using TrainingBench bench = new();
        TrainingOptions options = TrainingBench.Options with { Optimizer = OptimizerKind.LoraFa };

        Assert.Contains(
            "q_proj",
            Assert.Throws<ArgumentException>(() => bench.Adapter(Chosen, options: options).Dispose()).Message,
            StringComparison.Ordinal);
    }

    // |s B A x|^2 in f64, x = embedding / rms * weight.
    private static double Square(TrainingBench bench, LoraMethod method, int token)
    {
        const double Epsilon = 1e-05;
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(TrainingBench.BaseFolder, "model.safetensors"));
        int width = method.A.Value.Columns;
        float[] embedding = file.ReadSingles(file.Find("model.embed_tokens.weight"))[(token * width)..((token + 1) * width)];
        float[] weight = file.ReadSingles(file.Find("model.layers.0.input_layernorm.weight"));
        double length = Math.Sqrt((embedding.Sum(value => (double)value * value) / width) + Epsilon);
        double[] x = [.. embedding.Zip(weight, (value, w) => value / length * w)];
        double[] inner = [.. bench.Read(method.A.Value).Chunk(width).Select(row => row.Zip(x, (a, value) => a * value).Sum())];
        return bench.Read(method.B.Value).Chunk(inner.Length).Sum(row => Math.Pow(3 * row.Zip(inner, (b, value) => b * value).Sum(), 2));
    }
}
