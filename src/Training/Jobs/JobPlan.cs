using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Models;
using InferenceServer.Tensors;
using InferenceServer.Training.Data;
using InferenceServer.Training.Optimisation;
using InferenceServer.Training.Runs;

namespace InferenceServer.Training.Jobs;

/// <summary>A spec with its data and model: what exactly is to be trained on what. The same three give the same plan.</summary>
public sealed class JobPlan
{
    private JobPlan(Dataset train, Dataset heldOut, AdapterRecipe? recipe, TrainingOptions options, RunOptions run)
    {
        Train = train;
        HeldOut = heldOut;
        Recipe = recipe;
        Options = options;
        Run = run;
    }

    /// <summary>The samples to learn.</summary>
    public Dataset Train { get; }

    /// <summary>The samples to judge by.</summary>
    public Dataset HeldOut { get; }

    /// <summary>Null trains every weight.</summary>
    public AdapterRecipe? Recipe { get; }

    public TrainingOptions Options { get; }

    public RunOptions Run { get; }

    /// <summary>Tells one base from another, in whatever format it is kept.</summary>
    public static string Fingerprint(ModelShape model) => BaseFingerprint.Compute(model);

    /// <summary>Reads the data and checks that all goes together.</summary>
    /// <param name="spec">What is asked for.</param>
    /// <param name="dataPath">The data set, JSON lines.</param>
    /// <param name="model">The base.</param>
    /// <exception cref="TrainingSpecException">A field does not go with data or model.</exception>
    /// <exception cref="DatasetException">The data set is not one; the message names line and field.</exception>
    /// <exception cref="AdapterFormatException">The adapter's config is not valid, or does not fit the base.</exception>
    public static JobPlan Create(TrainingSpec spec, string dataPath, LanguageModel model)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(model);
        spec.Check();
        if (spec.AdapterConfig.Length > 0)
        {
            // Before the data, which may be long; once more below, when the number of steps is known.
            ReadRecipe(spec, model.Transformer.Shape, Math.Max(1, spec.Run.Steps));
        }

        (Dataset train, Dataset heldOut) = spec.Data.Split(spec.Data.Read(dataPath, model));
        TrainingOptions options = CreateOptions(spec, 0);
        BatchSource source = new(train, options.MaxBatchTokens, options.MaxSequences, spec.Data.Seed);
        double steps = spec.Run.Steps > 0 ? spec.Run.Steps : Math.Ceiling(spec.Run.Epochs * source.EpochBatches / spec.Run.MicroBatches);
        if (steps > int.MaxValue)
        {
            throw new TrainingSpecException("run.epochs", FormattableString.Invariant($"{spec.Run.Epochs} of this data set are {steps} steps, too many"));
        }

        int total = (int)steps;
        RunOptions run = new()
        {
            Steps = total,
            MicroBatches = spec.Run.MicroBatches,
            DataSeed = spec.Data.Seed,
            CheckpointEvery = spec.Run.CheckpointEvery,
            EvaluateEvery = spec.Evaluation.Every switch { < 0 => 0, 0 => Math.Max(1, total / 10), var every => every },
            Patience = spec.Evaluation.Patience,
        };
        AdapterRecipe? recipe = spec.AdapterConfig.Length > 0 ? ReadRecipe(spec, model.Transformer.Shape, total) : null;
        return new JobPlan(train, heldOut, recipe, CreateOptions(spec, total), run);
    }

    private static AdapterRecipe ReadRecipe(TrainingSpec spec, ModelShape shape, int steps)
    {
        AdapterRecipe recipe = AdapterRecipe.Parse(Encoding.UTF8.GetBytes(WithTotalSteps(spec.AdapterConfig, steps)));
        if (recipe.RoutedAdapters.Count == 0 && !shape.Modules.Any(module => recipe.Peft.Targets(module, shape) || recipe.Peft.IsSaved(module.Path)))
        {
            throw new AdapterFormatException(PeftImporter.ConfigFileName, "target_modules", $"modules of {shape.Name}", "no module of it");
        }

        bool isPlainLora = recipe.Peft.Method == AdapterMethod.Lora && !recipe.Peft.UsesDora;
        return isPlainLora || spec.Optimizer.Kind != OptimizerKind.LoraFa
            ? recipe
            : throw new TrainingSpecException("optimizer.kind", $"lora_fa trains plain LoRA only, not {recipe.Peft.Method}");
    }

    /// <summary>AdaLoRA has to know the length of the run; who counts in epochs cannot say it.</summary>
    private static string WithTotalSteps(string config, int steps)
    {
        try
        {
            if (JsonNode.Parse(config) is JsonObject json && json["peft_type"] is JsonValue type && type.TryGetValue(out string? method)
                && method == "ADALORA" && json["total_step"] is null)
            {
                json["total_step"] = steps;
                return json.ToJsonString();
            }
        }
        catch (JsonException)
        {
            // The recipe's own reader says what is wrong.
        }

        return config;
    }

    private static TrainingOptions CreateOptions(TrainingSpec spec, int totalSteps) => new()
    {
        Optimizer = spec.Optimizer.Kind,
        LearningRate = spec.Optimizer.LearningRate,
        WeightDecay = spec.Optimizer.WeightDecay,
        MaxGradientNorm = spec.Optimizer.MaxGradientNorm,
        Schedule = spec.Optimizer.Schedule,
        WarmUpSteps = spec.Optimizer.WarmUpSteps,
        TotalSteps = totalSteps,
        LoraPlusRatio = spec.Optimizer.LoraPlusRatio,
        FreezesA = spec.Optimizer.FreezesA,
        MaxBatchTokens = spec.Run.MaxBatchTokens,
        Seed = spec.Run.Seed,
        GradientCheckpointing = spec.Run.GradientCheckpointing,
    };
}
