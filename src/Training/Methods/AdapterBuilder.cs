using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Training.Starts;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>Makes the trained modules that a recipe names, with their start values.</summary>
internal sealed class AdapterBuilder
{
    /// <summary>What PEFT writes before every module's path.</summary>
    public const string Prefix = "base_model.model.";

    private readonly IComputeBackend _backend;
    private readonly TransformerModel _model;
    private readonly AdapterRecipe _recipe;
    private readonly TrainedWeights _trained;
    private readonly StartValues _start;
    private readonly ParameterFactory _parameters;
    private readonly LoraBuilder _lora;
    private (Parameter A, Parameter B)? _projections;

    /// <param name="backend">Where the parameters live.</param>
    /// <param name="operations">For start values that the device computes.</param>
    /// <param name="model">The base.</param>
    /// <param name="recipe">What to train.</param>
    /// <param name="trained">Told which weights are parameters.</param>
    /// <param name="start">Start values.</param>
    /// <param name="freezesA">LoRA-FA: A stays as it starts.</param>
    public AdapterBuilder(
        IComputeBackend backend,
        ITrainingBackend operations,
        TransformerModel model,
        AdapterRecipe recipe,
        TrainedWeights trained,
        StartValues start,
        bool freezesA)
    {
        _backend = backend;
        _model = model;
        _recipe = recipe;
        _trained = trained;
        _start = start;
        _parameters = new ParameterFactory(backend, start);
        _lora = new LoraBuilder(backend, operations, model, recipe, start, _parameters, freezesA);
    }

    private PeftConfig Config => _recipe.Peft;

    /// <summary>VeRA's shared projections after <see cref="Build"/>, to be exported and disposed.</summary>
    public (Parameter A, Parameter B)? Projections => _projections;

    /// <exception cref="AdapterFormatException">The recipe fits no module, or asks for what its method cannot do on one.</exception>
    public TrainedAdapter Build()
    {
        ModelShape shape = _model.Shape;
        if (Config.Router is not null)
        {
            return Name(new RouterBuilder(shape, _recipe, _start, _parameters).Build());
        }

        ModuleShape[] targets = [.. shape.Modules.Where(module => Config.Targets(module, shape))];
        if (targets.Length == 0 && !shape.Modules.Any(module => Config.IsSaved(module.Path)))
        {
            throw new AdapterFormatException(PeftImporter.ConfigFileName, "target_modules", $"modules of {shape.Name}", "no module of it");
        }

        if (_recipe.LoraDrop is { } drop)
        {
            CheckShared(drop, targets);
        }

        if (Config.Method == AdapterMethod.Vera)
        {
            _projections = CreateProjections(targets);
        }

        ModuleMethod?[] modules = new ModuleMethod?[shape.Modules.Count];
        foreach (ModuleShape module in shape.Modules)
        {
            modules[module.Index] = Config.IsSaved(module.Path) ? CreateSaved(module)
                : Config.Targets(module, shape) ? CreateMethod(module)
                : null;
        }

        return Name(modules);
    }

    private static TrainedAdapter Name(ModuleMethod?[] modules) => new("the adapter in training", modules);

    private ModuleMethod CreateMethod(ModuleShape module) => Config.Method switch
    {
        AdapterMethod.AdaLora => CreateAdaLora(module),
        AdapterMethod.Vera => CreateVera(module),
        AdapterMethod.Ia3 => CreateIa3(module),
        _ => _lora.Create(module),
    };

    private static void CheckShared(LoraDropConfig drop, ModuleShape[] targets)
    {
        if (drop.SharedModules is null)
        {
            throw LoraDropConfig.Wrong(LoraDropConfig.SharedField, "the modules that LoraDropWarmUp chooses before the training", "nothing");
        }

        if (drop.SharedModules.FirstOrDefault(path => !targets.Any(module => module.Path == path)) is { } unknown)
        {
            throw LoraDropConfig.Wrong(LoraDropConfig.SharedField, "modules that target_modules names", unknown);
        }
    }

    private AdaLoraMethod CreateAdaLora(ModuleShape module)
    {
        RequireLinear(module);
        const double Deviation = 0.02;
        int rank = Config.Rank;
        Parameter a = _parameters.Create(
            module.Path + ".lora_A",
            [rank, module.InFeatures],
            ParameterKind.Plain,
            () => _start.Normal((long)rank * module.InFeatures, Deviation));
        Parameter b = _parameters.Create(
            module.Path + ".lora_B",
            [module.OutFeatures, rank],
            ParameterKind.Up,
            () => _start.Normal((long)module.OutFeatures * rank, Deviation));
        Parameter values = _parameters.CreateVector(module.Path + ".lora_E", [rank, 1], () => new float[rank]);
        double alpha = Config.Alpha > 0 ? Config.Alpha : rank;
        return new AdaLoraMethod(a, b, values, (float)(alpha / (rank + 1e-5)), _recipe.Dropout);
    }

    private VeraMethod CreateVera(ModuleShape module)
    {
        RequireLinear(module);
        Parameter output = _parameters.CreateVector(module.Path + ".vera_lambda_b", [module.OutFeatures], () => new float[module.OutFeatures]);
        Parameter rank = _parameters.CreateVector(
            module.Path + ".vera_lambda_d", [Config.Rank], () => StartValues.Constant(Config.Rank, _recipe.VeraStart));
        (Parameter a, Parameter b) = _projections!.Value;
        return new VeraMethod(
            a.Value.SliceColumns(0, module.InFeatures), b.Value.SliceRows(0, module.OutFeatures), output, rank, _recipe.Dropout);
    }

    private (Parameter A, Parameter B) CreateProjections(ModuleShape[] targets)
    {
        int largestIn = targets.Max(module => module.InFeatures);
        int largestOut = targets.Max(module => module.OutFeatures);

        // Drawn as PEFT draws them, so that a file without them means the same.
        Lazy<(float[] A, float[] B)> drawn = new(() => VeraProjection.Draw((uint)Config.ProjectionKey, Config.Rank, largestIn, largestOut));
        return (
            CreateShared("vera_A", [Config.Rank, largestIn], () => drawn.Value.A),
            CreateShared("vera_B", [largestOut, Config.Rank], () => drawn.Value.B));
    }

    private Parameter CreateShared(string name, long[] shape, Func<float[]> fresh)
    {
        float[] values = Config.SavesProjection ? _start.Get("base_model." + name, shape[0] * shape[1], fresh) : fresh();
        return new Parameter(_backend, [new ParameterPart(name, 0, shape)], values, (int)shape[1], ParameterKind.Plain, isTrained: false);
    }

    private ModuleMethod CreateIa3(ModuleShape module)
    {
        RequireLinear(module);
        bool isFeedforward = Config.IsFeedforward(module.Path);
        int count = isFeedforward ? module.InFeatures : module.OutFeatures;
        Parameter factors = _parameters.CreateVector(
            module.Path + ".ia3_l", isFeedforward ? [1, count] : [count, 1], () => StartValues.Constant(count, 1f));
        return isFeedforward ? new Ia3InputMethod(factors) : new Ia3OutputMethod(_backend, factors, _model.Shape.ReadBias(module));
    }

    private SavedModuleMethod CreateSaved(ModuleShape module)
    {
        if (module.HasBias || module.Kind == ModuleKind.Conv1D)
        {
            throw new AdapterFormatException(
                PeftImporter.ConfigFileName,
                "modules_to_save",
                "modules without a bias (training of biases is not supported)",
                module.Path);
        }

        (int rows, int columns) = module.Kind switch
        {
            ModuleKind.Embedding => (module.InFeatures, module.OutFeatures),
            ModuleKind.Norm => (1, module.OutFeatures),
            _ => (module.OutFeatures, module.InFeatures),
        };
        float[] BaseWeight()
        {
            float[] weight = new float[(long)rows * columns];
            _model.Shape.ReadRows(module, 0, weight);
            return weight;
        }

        Parameter parameter = module.Kind == ModuleKind.Norm
            ? _parameters.CreateVector(module.Path + ".weight", [columns], BaseWeight)
            : _parameters.Create(module.Path + ".weight", [rows, columns], ParameterKind.Plain, BaseWeight);
        return new SavedModuleMethod(module, parameter, _trained);
    }

    private void RequireLinear(ModuleShape module)
    {
        if (module.Kind is not (ModuleKind.Linear or ModuleKind.Conv1D))
        {
            throw new AdapterFormatException(
                PeftImporter.ConfigFileName, "target_modules", $"linear modules with {Config.Method}", module.Path);
        }
    }
}
