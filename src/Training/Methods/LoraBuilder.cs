using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Training.Starts;

namespace InferenceServer.Training.Methods;

/// <summary>Makes the modules of LoRA and of the methods that are a pair A, B with something beside it.</summary>
internal sealed class LoraBuilder
{
    /// <summary>What PEFT writes behind the path for A.</summary>
    public const string DownSuffix = ".lora_A.weight";

    /// <summary>What PEFT writes behind the path for B.</summary>
    public const string UpSuffix = ".lora_B.weight";

    private readonly IComputeBackend _backend;
    private readonly ITrainingBackend _operations;
    private readonly TransformerModel _model;
    private readonly AdapterRecipe _recipe;
    private readonly StartValues _start;
    private readonly ParameterFactory _parameters;
    private readonly bool _freezesA;
    private readonly Dictionary<SharingGroup, LoraMethod> _shared = [];

    /// <param name="backend">Where the parameters live.</param>
    /// <param name="operations">For start values that the device computes.</param>
    /// <param name="model">The base.</param>
    /// <param name="recipe">What to train.</param>
    /// <param name="start">Start values.</param>
    /// <param name="parameters">Makes the parameters.</param>
    /// <param name="freezesA">LoRA-FA: A stays as it starts.</param>
    public LoraBuilder(
        IComputeBackend backend,
        ITrainingBackend operations,
        TransformerModel model,
        AdapterRecipe recipe,
        StartValues start,
        ParameterFactory parameters,
        bool freezesA)
    {
        _backend = backend;
        _operations = operations;
        _model = model;
        _recipe = recipe;
        _start = start;
        _parameters = parameters;
        _freezesA = freezesA;
    }

    private PeftConfig Config => _recipe.Peft;

    /// <summary>What is trained on a module that the recipe targets.</summary>
    /// <exception cref="AdapterFormatException">The recipe asks for what its method cannot do on it.</exception>
    public ModuleMethod Create(ModuleShape module) => module switch
    {
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
        Parameter magnitude = _parameters.CreateVector(
            module.Path + ".lora_magnitude_vector", [module.OutFeatures], () => RowNorms(matrix, firstRow, a, b, scale));
        return new DoraMethod(_backend, a, b, magnitude, matrix, firstRow, scale);
    }

    private (Parameter A, Parameter B) CreatePair(ModuleShape module)
    {
        int rank = Config.RankOf(module.Path);
        Parameter a = _parameters.Create(
            module.Path + DownSuffix,
            [rank, module.InFeatures],
            ParameterKind.Plain,
            () => _recipe.Initialisation == "gaussian"
                ? _start.Normal((long)rank * module.InFeatures, 1.0 / rank)
                : _start.KaimingUniform((long)rank * module.InFeatures, module.InFeatures),
            !_freezesA);
        Parameter b = _parameters.Create(
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
        _model.Shape.ReadUsedRows(module, 0, weight);
        LowRankStart start = _recipe.Initialisation == "pissa"
            ? PissaStart.Create(weight, module.OutFeatures, module.InFeatures, rank, scale)
            : OloraStart.Create(weight, module.OutFeatures, module.InFeatures, rank, scale);
        string pathA = module.Path + DownSuffix;
        string pathB = module.Path + UpSuffix;
        Parameter a = _parameters.Create(pathA, [rank, module.InFeatures], ParameterKind.Plain, () => start.A, !_freezesA);
        Parameter b = _parameters.Create(pathB, [module.OutFeatures, rank], ParameterKind.Up, () => start.B);
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
        Parameter a = _parameters.Create(
            module.Path + ".lora_embedding_A",
            [rank, module.InFeatures],
            ParameterKind.Embedding,
            () => new float[(long)rank * module.InFeatures],
            !_freezesA);
        Parameter b = _parameters.Create(
            module.Path + ".lora_embedding_B",
            [module.OutFeatures, rank],
            ParameterKind.Embedding,
            () => _start.Normal((long)module.OutFeatures * rank, 1));
        return new EmbeddingLoraMethod(a, b, (float)Config.ScaleOf(module.Path));
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
}
