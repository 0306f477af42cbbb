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

    /// <summary>What PEFT writes behind the path for A.</summary>
    public const string DownSuffix = ".lora_A.weight";

    /// <summary>What PEFT writes behind the path for B.</summary>
    public const string UpSuffix = ".lora_B.weight";

    private readonly IComputeBackend _backend;
    private readonly ITrainingBackend _operations;
    private readonly TransformerModel _model;
    private readonly AdapterRecipe _recipe;
    private readonly TrainedWeights _trained;
    private readonly StartValues _start;
    private readonly bool _freezesA;
    private readonly Dictionary<SharingGroup, LoraMethod> _shared = [];
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
        _operations = operations;
        _model = model;
        _recipe = recipe;
        _trained = trained;
        _start = start;
        _freezesA = freezesA;
    }

    private PeftConfig Config => _recipe.Peft;

    /// <summary>VeRA's shared projections after <see cref="Build"/>, to be exported and disposed.</summary>
    public (Parameter A, Parameter B)? Projections => _projections;

    /// <exception cref="AdapterFormatException">The recipe fits no module, or asks for what its method cannot do on one.</exception>
    public TrainedAdapter Build()
    {
        ModelShape shape = _model.Shape;
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

        return new TrainedAdapter("the adapter in training", modules);
    }

    private ModuleMethod CreateMethod(ModuleShape module) => Config.Method switch
    {
        AdapterMethod.AdaLora => CreateAdaLora(module),
        AdapterMethod.Vera => CreateVera(module),
        AdapterMethod.Ia3 => CreateIa3(module),
        _ when module.Kind == ModuleKind.Embedding => CreateEmbeddingLora(module),
        _ when _recipe.StartsFromBase => CreateResidualLora(module),
        _ when _recipe.DeltaLora is { } delta => CreateDeltaLora(module, delta),
        _ when _recipe.LoraDrop?.SharedModules!.Contains(module.Path) == true => CreateSharedLora(module),
        _ => CreateLora(module),
    };

    private ModuleMethod CreateLora(ModuleShape module)
    {
        float scale = (float)Config.ScaleOf(module.Path);
        (Parameter a, Parameter b) = CreatePair(module);
        if (!Config.UsesDora)
        {
            return new LoraMethod(a, b, scale, _recipe.Dropout);
        }

        (WeightMatrix matrix, int firstRow) = Find(module);
        Parameter magnitude = CreateVector(
            module.Path + ".lora_magnitude_vector", [module.OutFeatures], () => RowNorms(matrix, firstRow, a, b, scale));
        return new DoraMethod(_backend, a, b, magnitude, matrix, firstRow, scale);
    }

    private (Parameter A, Parameter B) CreatePair(ModuleShape module)
    {
        int rank = Config.RankOf(module.Path);
        Parameter a = Create(
            module.Path + DownSuffix,
            [rank, module.InFeatures],
            ParameterKind.Plain,
            () => _recipe.Initialisation == "gaussian"
                ? _start.Normal((long)rank * module.InFeatures, 1.0 / rank)
                : _start.KaimingUniform((long)rank * module.InFeatures, module.InFeatures),
            !_freezesA);
        Parameter b = Create(
            module.Path + UpSuffix, [module.OutFeatures, rank], ParameterKind.Up, () => new float[(long)module.OutFeatures * rank]);
        return (a, b);
    }

    private DeltaLoraMethod CreateDeltaLora(ModuleShape module, DeltaLoraConfig config)
    {
        (Parameter a, Parameter b) = CreatePair(module);
        return new DeltaLoraMethod(a, b, Anchor(a), Anchor(b), (float)Config.ScaleOf(module.Path), config);

        Parameter Anchor(Parameter parameter)
        {
            float[] values = new float[parameter.Count];
            _backend.Read(parameter.Value, values);
            ParameterPart part = new("anchor." + parameter.Name, 0, parameter.Parts[0].Shape);
            return new Parameter(_backend, [part], values, parameter.Value.Columns, parameter.Kind, isTrained: false);
        }
    }

    private SharedLoraMethod CreateSharedLora(ModuleShape module)
    {
        SharingGroup group = SharingGroup.Of(module, Config);
        bool isOwner = !_shared.TryGetValue(group, out LoraMethod? pair);
        if (pair is null)
        {
            (Parameter a, Parameter b) = CreatePair(module);
            pair = new LoraMethod(a, b, (float)group.Scale, _recipe.Dropout);
            _shared.Add(group, pair);
        }

        return new SharedLoraMethod(module.Path, pair, isOwner);
    }

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

    private float[] RowNorms(WeightMatrix matrix, int firstRow, Parameter a, Parameter b, float scale)
    {
        float[] norms = new float[b.Value.Rows];
        using DeviceBuffer buffer = _backend.Allocate(norms.Length * sizeof(float), "row norms");
        TensorView view = new(buffer, 1, norms.Length);
        _operations.AdaptedRowNorms(matrix, firstRow, a.Value, b.Value, scale, view);
        _backend.Read(view, norms);
        return norms;
    }

    private ResidualLoraMethod CreateResidualLora(ModuleShape module)
    {
        if (Config.UsesDora)
        {
            throw new AdapterFormatException(
                PeftImporter.ConfigFileName, "use_dora", $"false with init_lora_weights {_recipe.Initialisation}", "true");
        }

        int rank = Config.RankOf(module.Path);
        float scale = (float)Config.ScaleOf(module.Path);
        float[] weight = new float[(long)module.OutFeatures * module.InFeatures];
        _model.Shape.ReadRows(module, 0, weight);
        LowRankStart start = _recipe.Initialisation == "pissa"
            ? PissaStart.Create(weight, module.OutFeatures, module.InFeatures, rank, scale)
            : OloraStart.Create(weight, module.OutFeatures, module.InFeatures, rank, scale);
        string pathA = module.Path + DownSuffix;
        string pathB = module.Path + UpSuffix;
        Parameter a = Create(pathA, [rank, module.InFeatures], ParameterKind.Plain, () => start.A, !_freezesA);
        Parameter b = Create(pathB, [module.OutFeatures, rank], ParameterKind.Up, () => start.B);
        Parameter startA = new(
            _backend,
            [new ParameterPart(pathA, 0, [rank, module.InFeatures])],
            start.A,
            module.InFeatures,
            ParameterKind.Plain,
            isTrained: false);
        Parameter startB = new(
            _backend, [new ParameterPart(pathB, 0, [module.OutFeatures, rank])], start.B, rank, ParameterKind.Up, isTrained: false);
        return new ResidualLoraMethod(new LoraMethod(a, b, scale, _recipe.Dropout), startA, startB, start);
    }

    private EmbeddingLoraMethod CreateEmbeddingLora(ModuleShape module)
    {
        if (_recipe.DeltaLora is not null || _recipe.LoraDrop is not null)
        {
            string method = _recipe.DeltaLora is not null ? DeltaLoraConfig.Field : LoraDropConfig.Field;
            throw new AdapterFormatException(PeftImporter.ConfigFileName, "target_modules", $"linear modules with {method}", module.Path);
        }

        if (Config.UsesDora)
        {
            throw new AdapterFormatException(PeftImporter.ConfigFileName, "use_dora", $"false on the embedding {module.Path}", "true");
        }

        int rank = Config.RankOf(module.Path);
        Parameter a = Create(
            module.Path + ".lora_embedding_A",
            [rank, module.InFeatures],
            ParameterKind.Embedding,
            () => new float[(long)rank * module.InFeatures],
            !_freezesA);
        Parameter b = Create(
            module.Path + ".lora_embedding_B",
            [module.OutFeatures, rank],
            ParameterKind.Embedding,
            () => _start.Normal((long)module.OutFeatures * rank, 1));
        return new EmbeddingLoraMethod(a, b, (float)Config.ScaleOf(module.Path));
    }

    private AdaLoraMethod CreateAdaLora(ModuleShape module)
    {
        RequireLinear(module);
        const double Deviation = 0.02;
        int rank = Config.Rank;
        Parameter a = Create(
            module.Path + ".lora_A",
            [rank, module.InFeatures],
            ParameterKind.Plain,
            () => _start.Normal((long)rank * module.InFeatures, Deviation));
        Parameter b = Create(
            module.Path + ".lora_B",
            [module.OutFeatures, rank],
            ParameterKind.Up,
            () => _start.Normal((long)module.OutFeatures * rank, Deviation));
        Parameter values = CreateVector(module.Path + ".lora_E", [rank, 1], () => new float[rank]);
        double alpha = Config.Alpha > 0 ? Config.Alpha : rank;
        return new AdaLoraMethod(a, b, values, (float)(alpha / (rank + 1e-5)), _recipe.Dropout);
    }

    private VeraMethod CreateVera(ModuleShape module)
    {
        RequireLinear(module);
        Parameter output = CreateVector(module.Path + ".vera_lambda_b", [module.OutFeatures], () => new float[module.OutFeatures]);
        Parameter rank = CreateVector(
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
        Parameter factors = CreateVector(
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
            ? CreateVector(module.Path + ".weight", [columns], BaseWeight)
            : Create(module.Path + ".weight", [rows, columns], ParameterKind.Plain, BaseWeight);
        return new SavedModuleMethod(module, parameter, _trained);
    }

    private Parameter Create(string name, long[] shape, ParameterKind kind, Func<float[]> fresh, bool isTrained = true) => new(
        _backend,
        [new ParameterPart(name, 0, shape)],
        _start.Get(Prefix + name, shape[0] * shape[1], fresh),
        (int)shape[1],
        kind,
        isTrained);

    private Parameter CreateVector(string name, long[] shape, Func<float[]> fresh)
    {
        ParameterPart part = new(name, 0, shape);
        return new Parameter(
            _backend, [part], _start.Get(Prefix + name, part.Count, fresh), (int)part.Count, ParameterKind.Vector, isTrained: true);
    }

    private (WeightMatrix Matrix, int FirstRow) Find(ModuleShape module)
    {
        foreach (Linear linear in _model.Parts.Linears)
        {
            foreach (LinearSlice slice in linear.Slices)
            {
                if (slice.Module.Index == module.Index)
                {
                    return (linear.Original, slice.FirstRow);
                }
            }
        }

        throw new InvalidOperationException($"{module.Path} is not a linear module of the base");
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
