using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.TestKit.Golden;
using InferenceServer.Training;
using InferenceServer.Training.Export;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>
/// Delta-LoRA against its own definition: the base weight is moved step by step in f64, and a plain LoRA over the moved base must have the
/// same logits and gradients.
/// </summary>
[Trait("Category", "Training")]
public sealed class DeltaLoraTests : IDisposable
{
    private const double Scale = 2;

    private const string Plain = """{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]}""";

    private readonly string _folder = Directory.CreateTempSubdirectory("delta-lora-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(2, 0)]
    [InlineData(2, 3)]
    [InlineData(0.5, 1)]
    [InlineData(2, 9)]
    public void The_base_moves_by_the_formula_and_the_branch_keeps_its_own_gradients(double ratio, int warmUpSteps)
    {
        const int Steps = 6;
        using TrainingBench bench = new();
        using Trainer trainer = bench.Adapter(Config(ratio, warmUpSteps));
        Dictionary<string, double[]> moved = new(StringComparer.Ordinal);
        Dictionary<string, double[]> before = Products(bench, trainer);
        for (int step = 0; step < Steps; step++)
        {
            trainer.Step(TrainingBench.Batch);
            Dictionary<string, double[]> after = Products(bench, trainer);
            foreach ((string path, double[] product) in after)
            {
                // W' = W + lambda s (B' A' - B A), from step K on.
                double[] weight = moved.TryGetValue(path, out double[]? sum) ? sum : moved[path] = new double[product.Length];
                for (int i = 0; i < product.Length && step >= warmUpSteps; i++)
                {
                    weight[i] += ratio * Scale * (product[i] - before[path][i]);
                }
            }

            before = after;
        }

        Assert.Equal(warmUpSteps < Steps, moved.Values.Any(weight => weight.Any(value => value != 0)));
        string explicitBase = Path.Combine(_folder, "base");
        WriteMovedBase(explicitBase, moved);
        using TrainingBench other = new(folder: explicitBase);
        using Trainer plain = other.Adapter(Plain);
        foreach (Parameter parameter in plain.Parameters)
        {
            other.Backend.Write(bench.Read(Find(trainer, parameter.Name).Value), parameter.ValueBuffer);
        }

        Tolerance.AssertClose(plain.Logits(TrainingBench.Tokens), trainer.Logits(TrainingBench.Tokens), 1e-5, "logits");
        double loss = plain.ComputeGradients(TrainingBench.Batch);
        Assert.Equal(loss, trainer.ComputeGradients(TrainingBench.Batch), 1e-5);
        foreach (Parameter parameter in plain.Parameters)
        {
            Tolerance.AssertClose(
                other.Read(parameter.Gradient), bench.Read(Find(trainer, parameter.Name).Gradient), 1e-4, "gradient of " + parameter.Name);
        }

        // The file holds all of it over the original base: what the weight took and the branch.
        PeftExporter.Write(trainer, _folder);
        foreach ((string path, double[] exported) in ExportedChanges(bench))
        {
            double[] expected = [.. moved[path].Zip(before[path], (weight, product) => weight + (Scale * product))];
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.Equal(expected[i], exported[i], 1e-6);
            }
        }
    }

    [Theory]
    [InlineData("\"rank_pattern\": {\"down_proj\": 3}, \"alpha_pattern\": {\"q_proj\": 7}")]
    [InlineData("\"use_rslora\": true")]
    [InlineData("\"modules_to_save\": [\"norm\"]")]
    public void The_export_is_a_plain_LoRA_of_twice_the_rank_with_the_same_logits(string more)
    {
        using TrainingBench bench = new();
        float[] untrained = bench.Serve(null);
        using Trainer trainer = bench.Adapter(Config(2, 2, more));
        Tolerance.AssertClose(untrained, trainer.Logits(TrainingBench.Tokens), 1e-5, "fresh logits");
        TrainingStep first = trainer.Step(TrainingBench.Batch);
        for (int step = 0; step < 5; step++)
        {
            trainer.Step(TrainingBench.Batch);
        }

        PeftExporter.Write(trainer, _folder);

        Assert.True(trainer.Evaluate(TrainingBench.Batch) < first.Loss);
        AdapterWeights weights = new PeftImporter(bench.Model.Shape).Import(_folder, "delta").Weights;
        Assert.All(weights.Deltas.OfType<LowRankDelta>().Where(delta => delta.Rank > 0), delta => Assert.Contains(delta.Rank, (int[])[6, 8]));
        Tolerance.AssertClose(trainer.Logits(TrainingBench.Tokens), bench.Serve(_folder), 1e-5, "served logits");
        Assert.Equal(untrained, bench.Serve(null));
    }

    [Theory]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "delta_lora_config": {"ratio": 2}}""", "delta_lora_config.warm_up_steps")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "delta_lora_config": {"warm_up_steps": -1}}""", "delta_lora_config.warm_up_steps")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "delta_lora_config": {"ratio": -1, "warm_up_steps": 0}}""", "delta_lora_config.ratio")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "delta_lora_config": {"lambda": 1}}""", "delta_lora_config.lambda")]
    [InlineData("""{"peft_type": "LORA", "lora_dropout": 0.1, "target_modules": ["q_proj"], "delta_lora_config": {"warm_up_steps": 0}}""", "lora_dropout")]
    [InlineData("""{"peft_type": "LORA", "use_dora": true, "target_modules": ["q_proj"], "delta_lora_config": {"warm_up_steps": 0}}""", "use_dora")]
    [InlineData("""{"peft_type": "LORA", "init_lora_weights": "olora", "target_modules": ["q_proj"], "delta_lora_config": {"warm_up_steps": 0}}""", "init_lora_weights")]
    [InlineData("""{"peft_type": "IA3", "target_modules": ["q_proj"], "feedforward_modules": [], "delta_lora_config": {"warm_up_steps": 0}}""", "delta_lora_config")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["q_proj"], "delta_lora_config": {"warm_up_steps": 0}, "lora_drop_config": {}}""", "lora_drop_config")]
    [InlineData("""{"peft_type": "LORA", "target_modules": ["embed_tokens"], "delta_lora_config": {"warm_up_steps": 0}}""", "target_modules")]
    public void What_does_not_go_together_is_refused_by_name(string config, string field)
    {
        using TrainingBench bench = new();

        AdapterFormatException error = Assert.Throws<AdapterFormatException>(() => bench.Adapter(config).Dispose());

        Assert.Contains($"'{field}'", error.Message, StringComparison.Ordinal);
    }

    private static string Config(double ratio, int warmUpSteps, string more = "\"use_rslora\": false") => FormattableString.Invariant(
        $"{Plain[..^1]}, {more}, \"delta_lora_config\": {{\"ratio\": {ratio}, \"warm_up_steps\": {warmUpSteps}}}}}");

    private static Parameter Find(Trainer trainer, string name) => trainer.Parameters.Single(parameter => parameter.Name == name);

    /// <summary>B A of each module, in f64.</summary>
    private static Dictionary<string, double[]> Products(TrainingBench bench, Trainer trainer)
    {
        const string Suffix = ".lora_A.weight";
        Dictionary<string, double[]> products = new(StringComparer.Ordinal);
        foreach (Parameter a in trainer.TrainedParameters.Where(parameter => parameter.Name.EndsWith(Suffix, StringComparison.Ordinal)))
        {
            string path = a.Name[..^Suffix.Length];
            Parameter b = Find(trainer, path + ".lora_B.weight");
            products.Add(path, Product(bench.Read(b.Value), bench.Read(a.Value), a.Value.Rows));
        }

        return products;
    }

    private static double[] Product(float[] b, float[] a, int rank)
    {
        int rows = b.Length / rank;
        int columns = a.Length / rank;
        double[] product = new double[rows * columns];
        for (int i = 0; i < product.Length; i++)
        {
            for (int r = 0; r < rank; r++)
            {
                product[i] += (double)b[(i / columns * rank) + r] * a[(r * columns) + (i % columns)];
            }
        }

        return product;
    }

    // From the file itself: B A by the scale alpha / r, which doubling both leaves as it was.
    private List<(string Path, double[] Change)> ExportedChanges(TrainingBench bench)
    {
        const string Prefix = "base_model.model.";
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(_folder, PeftImporter.WeightsFileName));
        List<(string, double[])> changes = [];
        foreach (ModuleShape module in bench.Model.Shape.Modules.Where(module => module.Name is "q_proj" or "down_proj"))
        {
            SafetensorsEntry a = file.Entries[$"{Prefix}{module.Path}.lora_A.weight"];
            SafetensorsEntry b = file.Entries[$"{Prefix}{module.Path}.lora_B.weight"];
            Assert.Equal([8, module.InFeatures], a.Shape);
            Assert.Equal([module.OutFeatures, 8], b.Shape);
            double[] product = Product(file.ReadSingles(b), file.ReadSingles(a), 8);
            changes.Add((module.Path, [.. product.Select(value => Scale * value)]));
        }

        Assert.Equal(4, changes.Count);
        return changes;
    }

    private static void WriteMovedBase(string folder, Dictionary<string, double[]> moved)
    {
        Directory.CreateDirectory(folder);
        File.Copy(Path.Combine(TrainingBench.BaseFolder, "config.json"), Path.Combine(folder, "config.json"));
        using SafetensorsFile source = SafetensorsFile.Open(Path.Combine(TrainingBench.BaseFolder, "model.safetensors"));
        using FileStream stream = File.Create(Path.Combine(folder, "model.safetensors"));
        SafetensorsWriter.Write(
            stream,
            [
                .. source.Entries.Values.Select(entry =>
                {
                    float[] values = source.ReadSingles(entry);
                    return SafetensorsWriter.FromSingles(
                        entry.Name,
                        entry.Shape,
                        moved.TryGetValue(entry.Name[..^".weight".Length], out double[]? change)
                            ? [.. values.Zip(change, (value, delta) => (float)(value + delta))]
                            : values);
                }),
            ]);
    }
}
