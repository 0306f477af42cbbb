using System.Globalization;
using System.Text.Json;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Golden;
using InferenceServer.TestKit.Models;
using InferenceServer.Training;
using InferenceServer.Training.Export;
using InferenceServer.Training.Methods;
using InferenceServer.Training.Optimisation;
using InferenceServer.Training.Starts;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>Runs the training cases of the golden data and compares every number with PEFT's.</summary>
/// <param name="root">Folder of the golden data.</param>
/// <param name="create">Makes the machine: a backend and its other half.</param>
internal sealed class TrainingChecks(string root, Func<(IComputeBackend Backend, ITrainingBackend Operations)> create)
{
    private const double LossBound = 1e-4;
    private const double GradientBound = 1e-4;
    private const double ParameterBound = 1e-3;
    private const double LogitBound = 2e-3;

    /// <summary>Of a gradient as a whole, and of the way that a parameter has gone: small ones must be right too.</summary>
    private const double RelativeBound = 5e-3;

    /// <summary>The cases: folders with a case.json (the others are their bases).</summary>
    public IReadOnlyList<string> Cases => Directory.Exists(Folder)
        ? [.. Directory.GetDirectories(Folder).Where(folder => File.Exists(Path.Combine(folder, "case.json"))).Order(StringComparer.Ordinal)]
        : [];

    private string Folder => Path.Combine(root, "fixtures", "training");

    /// <summary>Losses, first gradients, parameters after the first and the last step, final logits, export.</summary>
    public void Case(string folder)
    {
        using ExpectedTensors expected = new(folder);
        (IComputeBackend made, ITrainingBackend other) = create();
        using IComputeBackend backend = made;
        using ITrainingBackend operations = other;
        string baseFolder = Path.Combine(root, "fixtures", expected.Case.GetProperty("base").GetString()!);
        using TransformerModel model = TransformerModel.Load(
            baseFolder, backend, new ModelLoadOptions { Weights = WeightFormat.F32, MaxBatchTokens = 64, MaxSampledRows = 64 });
        if (expected.Case.GetProperty("kind").GetString() == "init")
        {
            Start(expected, model, backend, operations);
        }
        else
        {
            Run(folder, expected, model, backend, operations);
        }
    }

    private static void Run(
        string folder, ExpectedTensors expected, TransformerModel model, IComputeBackend backend, ITrainingBackend operations)
    {
        TrainingOptions options = Options(expected.Case);
        string start = Path.Combine(folder, "init");
        using Trainer trainer = Directory.Exists(start)
            ? Trainer.ForAdapter(model, backend, operations, Recipe(start), options, start)
            : Trainer.ForAllWeights(model, backend, operations, options);
        Compare(trainer, backend, expected, "init.", parameter => parameter.Value, 0);
        SupervisedBatch[] batches = Batches(expected);
        float[] losses = expected.Floats("losses");
        int steps = expected.Case.GetProperty("steps").GetInt32();
        Assert.Equal(steps, losses.Length);
        for (int step = 1; step <= steps; step++)
        {
            double loss = trainer.ComputeGradients(batches);
            AssertNear(losses[step - 1], loss, LossBound, $"loss of step {step}");
            if (step == 1)
            {
                Compare(trainer, backend, expected, "grad1.", parameter => parameter.Gradient, GradientBound);
            }

            TrainingStep result = trainer.ApplyGradients();
            CheckRates(expected.Case, step, result);
            CheckNorm(expected, step, result);
            CheckAllocation(trainer, backend, expected, step);
            if (step == 1)
            {
                Compare(trainer, backend, expected, "after1.", parameter => parameter.Value, ParameterBound);
            }
        }

        Compare(trainer, backend, expected, $"after{steps}.", parameter => parameter.Value, ParameterBound);
        AssertNear(expected.Floats("final_loss_eval")[0], EvaluateWhole(trainer, expected), LossBound, "final loss");
        float[] expectedLogits = expected.Floats("final_logits_row0");
        int[] tokens = expected.Ints("input_ids")[..(expectedLogits.Length / model.Config.VocabularySize)];
        float[] logits = trainer.Logits(tokens);
        AssertNear(expectedLogits, logits, LogitBound, "final logits");
        if (trainer.Recipe is not null)
        {
            Export(folder, trainer, model, backend, tokens, logits);
        }
    }

    /// <summary>PiSSA and OLoRA: the part taken out of the base and what is left of it; the factors' signs are free.</summary>
    private static void Start(ExpectedTensors expected, TransformerModel model, IComputeBackend backend, ITrainingBackend operations)
    {
        string kind = expected.Case.GetProperty("name").GetString()!["init_".Length..];
        string config = $$"""
            {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "init_lora_weights": "{{kind}}", "target_modules": ["q_proj", "v_proj", "down_proj"]}
            """;
        TrainingOptions options = new() { MaxBatchTokens = 64 };
        using Trainer trainer = Trainer.ForAdapter(
            model, backend, operations, AdapterRecipe.Parse(System.Text.Encoding.UTF8.GetBytes(config)), options);
        int compared = 0;
        foreach (ResidualLoraMethod method in trainer.Modules.OfType<ResidualLoraMethod>())
        {
            string path = method.A.Name[..^".lora_A.weight".Length];
            ModuleShape module = model.Shape.Find(path)!;
            float[] weight = new float[module.OutFeatures * module.InFeatures];
            model.Shape.ReadRows(module, 0, weight);
            float[] delta = Product(method.Start, module);
            AssertNear(expected.Floats("delta." + path), delta, 1e-5, "delta of " + path);
            AssertNear(expected.Floats("residual_weight." + path), [.. weight.Zip(delta, (w, d) => w - d)], 1e-5, "residual of " + path);
            compared++;
        }

        Assert.Equal(6, compared);
        int[] tokens = expected.Ints("input_ids");
        AssertNear(expected.Floats("logits"), trainer.Logits(tokens), LogitBound, "logits");

        // Training moves on from there, and the export is a plain LoRA over the original base.
        SupervisedBatch batch = new([new SupervisedSequence(tokens, tokens)]);
        TrainingStep first = trainer.Step(batch);
        for (int step = 0; step < 4; step++)
        {
            trainer.Step(batch);
        }

        Assert.True(trainer.Evaluate(batch) < first.Loss);
        Export(null, trainer, model, backend, tokens, trainer.Logits(tokens));
    }

    /// <summary>What is exported reads back through the importer with the same logits, and is what PEFT saved after the same steps.</summary>
    private static void Export(string? folder, Trainer trainer, TransformerModel model, IComputeBackend backend, int[] tokens, float[] logits)
    {
        string exported = Directory.CreateTempSubdirectory("exported").FullName;
        try
        {
            PeftExporter.Write(trainer, exported);
            AdapterWeights weights = new PeftImporter(model.Shape).Import(exported, "exported").Weights;
            using DeviceAdapter adapter = backend.CreateAdapter(weights, WeightFormat.F32);
            using ModelHarness harness = new(model, backend);
            float[] served = harness.Logits([new HarnessSequence(tokens, new LoraEntry(adapter, 1f))])[0];
            Tolerance.AssertClose(logits, served, 1e-5, "logits of the exported adapter");
            if (folder is not null)
            {
                CompareFiles(Path.Combine(folder, "final"), exported);
            }
        }
        finally
        {
            Directory.Delete(exported, recursive: true);
        }
    }

    private static void CompareFiles(string expectedFolder, string actualFolder)
    {
        using SafetensorsFile expected = SafetensorsFile.Open(Path.Combine(expectedFolder, PeftImporter.WeightsFileName));
        using SafetensorsFile actual = SafetensorsFile.Open(Path.Combine(actualFolder, PeftImporter.WeightsFileName));
        string[] names = [.. expected.Entries.Keys.Where(name => !name.Contains("base_layer", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        Assert.Equal(names, actual.Entries.Keys.Order(StringComparer.Ordinal));
        foreach (string name in names)
        {
            Assert.Equal(expected.Entries[name].Shape, actual.Entries[name].Shape);
            AssertNear(
                expected.ReadSingles(expected.Entries[name]), actual.ReadSingles(actual.Entries[name]), ParameterBound, "exported " + name);
        }

        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(expectedFolder, PeftImporter.ConfigFileName)));
        using JsonDocument own = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(actualFolder, PeftImporter.ConfigFileName)));
        Assert.Equal(Pattern(config), Pattern(own));

        static SortedDictionary<string, string> Pattern(JsonDocument document) =>
            document.RootElement.TryGetProperty("rank_pattern", out JsonElement pattern) && pattern.ValueKind == JsonValueKind.Object
                ? new(
                    pattern.EnumerateObject().ToDictionary(member => member.Name, member => JsonSerializer.Serialize(member.Value)),
                    StringComparer.Ordinal)
                : [];
    }

    private static TrainingOptions Options(JsonElement golden)
    {
        string name = golden.GetProperty("name").GetString()!;
        int[] schedule = golden.TryGetProperty("schedule", out JsonElement text)
            ? [.. text.GetString()!.Split(' ', ',').Where(part => int.TryParse(part, out _)).Select(part => int.Parse(part, CultureInfo.InvariantCulture))]
            : [0, 0];
        return new TrainingOptions
        {
            LearningRate = 1e-3,
            WeightDecay = 0.01,
            Optimizer = name switch
            {
                "loraplus" => OptimizerKind.LoraPlus,
                "lorafa_peft" => OptimizerKind.LoraFa,
                _ => OptimizerKind.AdamW,
            },
            FreezesA = name == "lorafa_frozen_a",
            MaxGradientNorm = golden.TryGetProperty("clip_grad_norm", out JsonElement clip) ? clip.GetDouble() : 0,
            Schedule = text.ValueKind != JsonValueKind.String ? ScheduleKind.Constant
                : text.GetString()!.StartsWith("linear", StringComparison.Ordinal) ? ScheduleKind.Linear
                : ScheduleKind.Cosine,
            WarmUpSteps = schedule[0],
            TotalSteps = schedule[1],
            MaxBatchTokens = 64,
        };
    }

    private static AdapterRecipe Recipe(string folder) => AdapterRecipe.Parse(
        File.ReadAllBytes(Path.Combine(folder, PeftImporter.ConfigFileName)));

    private static SupervisedBatch[] Batches(ExpectedTensors expected)
    {
        SupervisedBatch whole = Whole(expected);
        bool accumulates = expected.Case.GetProperty("name").GetString() == "lora_grad_accum";
        return accumulates ? [.. whole.Sequences.Select(sequence => new SupervisedBatch([sequence]))] : [whole];
    }

    private static SupervisedBatch Whole(ExpectedTensors expected)
    {
        int columns = expected.Case.GetProperty("tensors").GetProperty("input_ids").GetProperty("shape")[1].GetInt32();
        return SupervisedBatch.FromPadded(columns, expected.Ints("input_ids"), expected.Ints("attention_mask"), expected.Ints("labels"));
    }

    private static double EvaluateWhole(Trainer trainer, ExpectedTensors expected) => trainer.Evaluate(Whole(expected));

    private static void CheckRates(JsonElement golden, int step, TrainingStep result)
    {
        JsonElement rates = golden.GetProperty("lr_per_step_and_group")[step - 1];
        Assert.Equal(rates.GetArrayLength(), result.LearningRates.Count);
        for (int group = 0; group < result.LearningRates.Count; group++)
        {
            Assert.Equal(rates[group].GetDouble(), result.LearningRates[group], 1e-12);
        }
    }

    private static void CheckNorm(ExpectedTensors expected, int step, TrainingStep result)
    {
        if (expected.Has("grad_norms"))
        {
            AssertNear(expected.Floats("grad_norms")[step - 1], result.GradientNorm, GradientBound, $"gradient norm of step {step}");
        }
    }

    private static void CheckAllocation(Trainer trainer, IComputeBackend backend, ExpectedTensors expected, int step)
    {
        if (!expected.Case.TryGetProperty("allocation", out JsonElement allocation))
        {
            return;
        }

        JsonElement golden = allocation[step - 1];
        AdaLoraSchedule schedule = trainer.Recipe!.AdaLora!;
        Assert.Equal(step, golden.GetProperty("step").GetInt32());
        Assert.Equal(
            (golden.GetProperty("budget").GetInt32(), golden.GetProperty("mask_step").GetBoolean()),
            schedule.BudgetAt(step, golden.GetProperty("init_budget").GetInt32(), golden.GetProperty("target_budget").GetInt32()));
        foreach (JsonProperty module in golden.GetProperty("nonzero_E_per_module").EnumerateObject())
        {
            Parameter values = trainer.Parameters.Single(parameter => parameter.Name == module.Name);
            float[] actual = Read(backend, values.Value);
            Assert.Equal(module.Value.GetInt32(), actual.Count(value => value != 0));
            float[] golden1 = expected.Floats($"E.step{step:00}.{module.Name}");
            Assert.Equal(golden1.Select(value => value == 0), actual.Select(value => value == 0));
            AssertNear(golden1, actual, ParameterBound, $"{module.Name} after step {step}");
        }
    }

    /// <summary>Every expected tensor has its parameter and the other way round.</summary>
    private static void Compare(
        Trainer trainer, IComputeBackend backend, ExpectedTensors expected, string prefix, Func<Parameter, TensorView> view, double bound)
    {
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (Parameter parameter in trainer.TrainedParameters)
        {
            float[] values = Read(backend, view(parameter));
            foreach (ParameterPart part in parameter.Parts)
            {
                string name = prefix + PeftName(expected, prefix, part.Name);
                float[] actual = values[(int)part.Offset..(int)(part.Offset + part.Count)];
                float[] golden = expected.Floats(name);
                AssertNear(golden, actual, bound, name);
                AssertSameWay(expected, prefix, name, golden, actual);
                seen.Add(name);
            }
        }

        string[] missing =
        [
            .. expected.Case.GetProperty("tensors").EnumerateObject().Select(tensor => tensor.Name)
                .Where(name => name.StartsWith(prefix, StringComparison.Ordinal) && !seen.Contains(name)),
        ];
        Assert.Empty(missing);
    }

    private static void AssertSameWay(ExpectedTensors expected, string prefix, string name, float[] golden, float[] actual)
    {
        if (prefix == "init.")
        {
            return;
        }

        float[] start = prefix == "grad1." ? new float[golden.Length] : expected.Floats(string.Concat("init.", name.AsSpan(prefix.Length)));
        float[] goldenWay = [.. golden.Zip(start, (end, begin) => end - begin)];
        float[] way = [.. actual.Zip(start, (end, begin) => end - begin)];
        if (goldenWay.Any(value => Math.Abs(value) > 1e-6))
        {
            Tolerance.AssertClose(goldenWay, way, RelativeBound, name + " (way from the start)");
        }
        else
        {
            AssertNear(goldenWay, way, 2e-6, name + " (unmoved)");
        }
    }

    // In memory PEFT's parameters have a few names that its files have not.
    private static string PeftName(ExpectedTensors expected, string prefix, string name)
    {
        if (name.EndsWith(".lora_magnitude_vector", StringComparison.Ordinal))
        {
            return name + ".weight";
        }

        string saved = name.Replace(".weight", ".modules_to_save.weight", StringComparison.Ordinal);
        return expected.Has(prefix + saved) ? saved : name;
    }

    private static float[] Product(LowRankStart start, ModuleShape module)
    {
        int rank = start.A.Length / module.InFeatures;
        float[] product = new float[module.OutFeatures * module.InFeatures];
        for (int o = 0; o < module.OutFeatures; o++)
        {
            for (int i = 0; i < module.InFeatures; i++)
            {
                double sum = Enumerable.Range(0, rank).Sum(r => (double)start.B[(o * rank) + r] * start.A[(r * module.InFeatures) + i]);
                product[(o * module.InFeatures) + i] = (float)(start.Scale * sum);
            }
        }

        return product;
    }

    private static float[] Read(IComputeBackend backend, TensorView view)
    {
        float[] values = new float[view.Rows * view.Columns];
        backend.Read(view, values);
        return values;
    }

    private static void AssertNear(double expected, double actual, double bound, string what) =>
        Assert.True(Math.Abs(expected - actual) <= bound, $"{what}: {actual:g8} against {expected:g8}");

    private static void AssertNear(float[] expected, float[] actual, double bound, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(Math.Abs(expected[i] - actual[i]) <= bound, $"{what}[{i}]: {actual[i]:g8} against {expected[i]:g8}");
        }
    }
}
