using System.Text.Json.Nodes;
using InferenceServer.Protocol.V1;

namespace InferenceServer.Client;

/// <summary>
/// A method of training by its name: which fields of PEFT's adapter_config.json and of the optimiser it means. All of them are in
/// <see cref="TrainingMethods"/>.
/// </summary>
public sealed record TrainingMethod
{
    internal const double DefaultRate = 2e-4;

    internal const string TargetsField = "target_modules";

    internal const string RouterField = "router_config";

    private const string AlphaField = "lora_alpha";
    private const string FeedforwardField = "feedforward_modules";

    /// <summary>What the command line calls it.</summary>
    public required string Name { get; init; }

    /// <summary>What it does, in one line.</summary>
    public required string Summary { get; init; }

    /// <summary>Whether an adapter is trained; else every weight of the model.</summary>
    public bool TrainsAdapter => Config.Length > 0;

    /// <summary>Whether it puts together adapters that the server has, <see cref="AdapterSettings.Over"/>, and trains how they are weighed.</summary>
    public bool RoutesAdapters { get; init; }

    /// <summary>Rank when none is asked for; 0 where there is no rank.</summary>
    public int DefaultRank { get; init; }

    /// <summary>Whether the number of steps must be known at the start, because the method has a schedule of its own over them.</summary>
    public bool NeedsSteps => StepShares.Count > 0;

    /// <summary>A good learning rate of this method over a good one of LoRA: where to begin to search.</summary>
    public double RateFactor { get; init; } = 1;

    /// <summary>The adapter_config.json without what <see cref="ApplyTo"/> fills in; empty for full fine-tuning.</summary>
    internal string Config { get; init; } = "";

    /// <summary>Fields that follow the rank, and their share of it.</summary>
    internal IReadOnlyDictionary<string, double> RankShares { get; init; } = new Dictionary<string, double>();

    /// <summary>Fields that follow the number of steps, and their share of it; a dot leads into an object.</summary>
    internal IReadOnlyDictionary<string, double> StepShares { get; init; } = new Dictionary<string, double>();

    internal bool HasAlpha { get; init; }

    /// <summary>Null where dropout is refused.</summary>
    internal string? DropoutField { get; init; }

    internal string Optimizer { get; init; } = "";

    internal bool FreezesA { get; init; }

    internal string BaseWeights { get; init; } = "";

    /// <summary>A spec of this method with the server's defaults for everything else.</summary>
    /// <param name="adapter">Name of the adapter.</param>
    /// <param name="settings">Its size and place; null for the method's defaults.</param>
    /// <param name="steps">Steps of the run; 0 takes the server's number of epochs.</param>
    /// <exception cref="ArgumentException">The method has no such setting, or needs the number of steps.</exception>
    public TrainingSpec CreateSpec(string adapter, AdapterSettings? settings = null, int steps = 0)
    {
        TrainingSpec spec = new() { Adapter = adapter, Run = new RunSettings { Steps = steps } };
        ApplyTo(spec, settings);
        return spec;
    }

    /// <summary>Writes the method into a spec: its adapter_config, base_weights and optimiser, and its learning rate where none is set.</summary>
    /// <exception cref="ArgumentException">The method has no such setting, or needs the number of steps.</exception>
    public void ApplyTo(TrainingSpec spec, AdapterSettings? settings = null)
    {
        ArgumentNullException.ThrowIfNull(spec);
        spec.AdapterConfig = CreateConfig(settings ?? new AdapterSettings(), spec.Run?.Steps ?? 0);
        spec.BaseWeights = BaseWeights.Length > 0 ? BaseWeights : spec.BaseWeights;
        spec.Optimizer ??= new OptimizerSettings();
        spec.Optimizer.Kind = Optimizer;
        spec.Optimizer.FreezeA = FreezesA;
        if (spec.Optimizer.LearningRate == 0)
        {
            spec.Optimizer.LearningRate = DefaultRate * RateFactor;
        }
    }

    private string CreateConfig(AdapterSettings settings, int steps)
    {
        Refuse(settings.Rank != 0 && RankShares.Count == 0, "rank");
        Refuse(settings.Alpha != 0 && !HasAlpha, "alpha");
        Refuse(settings.Dropout != 0 && DropoutField is null, "dropout");
        Refuse(settings.Targets.Count > 0 && (!TrainsAdapter || RoutesAdapters), "target modules");
        Refuse(settings.Over.Count > 0 && !RoutesAdapters, "adapters to route over");
        Refuse(settings.TopK != 0 && !RoutesAdapters, "top-k");
        if (NeedsSteps && steps <= 0)
        {
            throw new ArgumentException($"{Name} has a schedule over the run, so the number of steps must be given (not epochs)");
        }

        if (!TrainsAdapter)
        {
            return "";
        }

        JsonObject config = JsonNode.Parse(Config)!.AsObject();
        if (RoutesAdapters)
        {
            SetRouter(config[RouterField]!.AsObject(), settings);
        }

        int rank = settings.Rank == 0 ? DefaultRank : settings.Rank;
        foreach ((string field, double share) in RankShares)
        {
            config[field] = Share(share, rank);
        }

        foreach ((string field, double share) in StepShares)
        {
            string[] path = field.Split('.');
            JsonObject holder = path.Length == 1 ? config : config[path[0]]!.AsObject();
            holder[path[^1]] = Share(share, steps);
        }

        if (HasAlpha)
        {
            config[AlphaField] = settings.Alpha == 0 ? 2.0 * rank : settings.Alpha;
        }

        if (settings.Dropout != 0)
        {
            config[DropoutField!] = settings.Dropout;
        }

        if (settings.Targets.Count > 0)
        {
            SetTargets(config, settings.Targets);
        }

        return config.ToJsonString();
    }

    private static int Share(double share, int whole) => (int)Math.Round(share * whole, MidpointRounding.AwayFromZero);

    private void SetRouter(JsonObject router, AdapterSettings settings)
    {
        int count = settings.Over.Distinct(StringComparer.Ordinal).Count();
        if (count < 2 || count != settings.Over.Count)
        {
            throw new ArgumentException(
                $"{Name} weighs two adapters or more, each named once; given were {(count == 0 ? "none" : string.Join(", ", settings.Over))}");
        }

        if (settings.TopK != 0 && (settings.TopK < 2 || settings.TopK > count))
        {
            throw new ArgumentException($"top-k {settings.TopK} is not from 2 to {count}, the number of adapters");
        }

        router["adapters"] = ListOf(settings.Over);
        if (settings.TopK != 0)
        {
            router["top_k"] = settings.TopK;
        }
    }

    private static void SetTargets(JsonObject config, IReadOnlyList<string> targets)
    {
        bool isPattern = targets.Count == 1 && (targets[0] == TrainingMethods.AllLinear || AdapterSettings.IsPattern(targets[0]));
        config[TargetsField] = isPattern ? targets[0] : ListOf(targets);

        // PEFT wants every feed-forward module to be a target too.
        if (!isPattern && config[FeedforwardField] is JsonArray feedforward)
        {
            config[FeedforwardField] = ListOf(feedforward.Select(name => name!.GetValue<string>()).Where(targets.Contains));
        }
    }

    private static JsonArray ListOf(IEnumerable<string> names) => [.. names.Select(name => JsonValue.Create(name))];

    private void Refuse(bool condition, string what)
    {
        if (condition)
        {
            throw new ArgumentException($"{Name} has no {what}");
        }
    }
}
