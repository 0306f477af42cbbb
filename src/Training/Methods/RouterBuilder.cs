using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Training.Starts;

namespace InferenceServer.Training.Methods;

/// <summary>Puts the adapters that a recipe routes over side by side, with a gate on each module that any of them changes.</summary>
internal sealed class RouterBuilder
{
    /// <summary>What a routed file writes behind the path for G.</summary>
    public const string GateSuffix = ".router_gate.weight";

    /// <summary>What a routed file writes behind the path for c.</summary>
    public const string BiasSuffix = ".router_gate.bias";

    // Small beside the scores of normed inputs: all adapters begin nearly alike, and with top_k each has rows that choose it.
    private const double GateDeviation = 0.02;

    private readonly ModelShape _model;
    private readonly AdapterRecipe _recipe;
    private readonly StartValues _start;
    private readonly ParameterFactory _parameters;

    /// <param name="model">The base.</param>
    /// <param name="recipe">What to train; it knows its sources.</param>
    /// <param name="start">Start values.</param>
    /// <param name="parameters">Makes the parameters.</param>
    public RouterBuilder(ModelShape model, AdapterRecipe recipe, StartValues start, ParameterFactory parameters)
    {
        _model = model;
        _recipe = recipe;
        _start = start;
        _parameters = parameters;
    }

    private RouterConfig Router => _recipe.Peft.Router!;

    /// <returns>By module index.</returns>
    /// <exception cref="AdapterFormatException">A source is missing, is no adapter of this base, or is more than pairs A and B.</exception>
    public ModuleMethod?[] Build()
    {
        AdapterWeights[] sources = [.. Router.Adapters.Select(Find)];
        ModuleMethod?[] modules = new ModuleMethod?[_model.Modules.Count];
        foreach (ModuleShape module in _model.Modules)
        {
            LowRankDelta?[] deltas = [.. sources.Select(source => source.Deltas[module.Index])];
            if (deltas.Any(delta => delta is { Rank: > 0 }))
            {
                modules[module.Index] = Create(module, deltas);
            }
        }

        return modules.Any(module => module is not null) ? modules : throw Wrong("adapters that change a module", "none that does");
    }

    private AdapterWeights Find(string name)
    {
        if (_recipe.Sources?.GetValueOrDefault(name) is not { } weights)
        {
            throw Wrong($"adapters that were given with the recipe ({string.Join(", ", _recipe.Sources?.Keys ?? [])})", $"'{name}'");
        }

        if (weights.Deltas.Count != _model.Modules.Count)
        {
            throw Wrong($"adapters of '{_model.Name}'", $"'{name}' of another base");
        }

        foreach (ModuleShape module in _model.Modules)
        {
            if (weights.Deltas[module.Index] is { } delta && Obstacle(module, delta) is { } obstacle)
            {
                throw Wrong("adapters of pairs A and B on linear modules alone", $"'{name}', which has {obstacle} on {module.Path}");
            }
        }

        return weights;
    }

    // What could not be weighed for each row, or not by the module's input.
    private static string? Obstacle(ModuleShape module, LowRankDelta delta) => delta switch
    {
        { Gate: not null } => "gates of its own",
        { OutputScale: not null } => "an output scale (DoRA, IA3)",
        { InputScale: not null } => "an input scale (IA3)",
        { OutputBias: not null } => "a bias",
        { Replacement: not null } => "a replaced weight (modules_to_save)",
        { ReplacedRows: not null } => "replaced tokens",
        { Rank: > 0 } when module.Kind is not (ModuleKind.Linear or ModuleKind.Conv1D) => "a pair",
        { Rank: > 0 } when delta.A!.Columns != module.InFeatures || delta.B!.Rows != module.OutFeatures => "a pair of another shape",
        _ => null,
    };

    private RouterMethod Create(ModuleShape module, LowRankDelta?[] deltas)
    {
        int[] ranks = [.. deltas.Select(delta => delta?.Rank ?? 0)];
        int rank = ranks.Sum();
        int limit = new AdapterLimits().MaxRank;
        if (rank > limit)
        {
            throw Wrong($"adapters whose ranks add up to at most MaxRank {limit}", $"{rank} on {module.Path}");
        }

        LowRankDelta[] blocks = [.. deltas.OfType<LowRankDelta>().Where(delta => delta.Rank > 0)];
        Parameter a = _parameters.Create(
            module.Path + LoraBuilder.DownSuffix,
            [rank, module.InFeatures],
            ParameterKind.Plain,
            () => [.. blocks.SelectMany(delta => delta.A!.Values)],
            Router.TrainsBlocks);
        Parameter b = _parameters.Create(
            module.Path + LoraBuilder.UpSuffix,
            [module.OutFeatures, rank],
            ParameterKind.Up,
            () => SideBySide(blocks, module.OutFeatures, rank),
            Router.TrainsBlocks);
        Parameter gate = _parameters.Create(
            module.Path + GateSuffix,
            [ranks.Length, module.InFeatures],
            ParameterKind.Plain,
            () => _start.Normal((long)ranks.Length * module.InFeatures, GateDeviation));
        Parameter? bias = Router.HasBias
            ? _parameters.CreateVector(module.Path + BiasSuffix, [ranks.Length], () => new float[ranks.Length])
            : null;
        return new RouterMethod(module.Path, ranks, a, b, gate, bias, Router.Temperature, Router.TopK);
    }

    private static float[] SideBySide(LowRankDelta[] blocks, int rows, int rank)
    {
        float[] values = new float[rows * rank];
        for (int row = 0; row < rows; row++)
        {
            Span<float> target = values.AsSpan(row * rank, rank);
            foreach (LowRankDelta delta in blocks)
            {
                delta.B!.Row(row).CopyTo(target);
                target = target[delta.Rank..];
            }
        }

        return values;
    }

    private static AdapterFormatException Wrong(string expected, string found) =>
        new(PeftImporter.ConfigFileName, RouterConfig.Field + ".adapters", expected, found);
}
