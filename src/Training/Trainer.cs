using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Import;
using InferenceServer.Models.Transformer;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Safetensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.Training.Methods;
using InferenceServer.Training.Optimisation;
using InferenceServer.Training.Starts;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training;

/// <summary>
/// Trains one adapter, or every weight, of a base: batches in, loss out, parameters changed. The base is read only and may serve meanwhile
/// through another backend. One thread at a time.
/// </summary>
public sealed partial class Trainer : IDisposable
{
    private readonly IComputeBackend _backend;
    private readonly ITrainingBackend _operations;
    private readonly TrainingOptions _options;
    private readonly GradientTape _tape;
    private readonly RecordingBackend _recording;
    private readonly TransformerModel _model;
    private readonly KvCache _cache;
    private readonly StepInputs _step;
    private readonly TrainedAdapter? _adapter;
    private readonly LoraFaProjection? _projection;
    private readonly AdamOptimizer _optimizer;
    private readonly OrthogonalityLoss? _orthogonality;
    private int _stepCount;
    private ulong _forwardCount;
    private double _loss;

    private Trainer(
        TransformerModel model,
        IComputeBackend backend,
        ITrainingBackend operations,
        AdapterRecipe? recipe,
        SafetensorsFile? start,
        TrainingOptions options)
    {
        _backend = backend;
        _operations = operations;
        _options = options;
        Recipe = recipe;
        TrainedWeights trained = new();
        _tape = new GradientTape(backend, operations);
        _recording = new RecordingBackend(backend, _tape, trained);
        _model = model.CreateView(_recording, options.MaxBatchTokens, Math.Min(options.MaxBatchTokens, HeadRows));
        int blocks = ((options.MaxBatchTokens + BlockSize - 1) / BlockSize) + options.MaxSequences;
        _cache = _recording.CreateKvCache(
            new KvCacheShape(1, blocks, BlockSize, model.Config.KvHeadCount, model.Config.HeadSize, _recording.KeyValueFormat));
        _step = new StepInputs(options.MaxBatchTokens, options.MaxSequences);
        if (recipe is null)
        {
            Parameters = FullFineTuning.Create(_recording, model, trained);
        }
        else
        {
            bool freezesA = options.FreezesA || options.Optimizer == OptimizerKind.LoraFa;
            AdapterBuilder builder = new(_recording, operations, model, recipe, trained, new StartValues(start, options.Seed), freezesA);
            _adapter = builder.Build();
            Projections = builder.Projections;
            Parameters = [.. _adapter.Modules.SelectMany(module => module.Parameters)];
        }

        if (options.Optimizer == OptimizerKind.LoraFa)
        {
            if (Modules.FirstOrDefault(module => module is not (LoraMethod or SavedModuleMethod)) is { } other)
            {
                throw new ArgumentException($"the LoRA-FA optimiser trains plain LoRA only, not {other.Parameters[0].Name}");
            }

            _projection = new LoraFaProjection(_recording, operations, Modules.OfType<LoraMethod>());
        }

        _optimizer = new AdamOptimizer(_recording, operations, options, [.. TrainedParameters], _projection);
        if (recipe?.AdaLora is { } schedule)
        {
            Allocator = new AdaLoraAllocator(backend, schedule, Modules.OfType<AdaLoraMethod>());
            _orthogonality = new OrthogonalityLoss(
                _recording, operations, Modules.OfType<AdaLoraMethod>(), schedule.InitialRank, schedule.OrthogonalityWeight);
        }
    }

    /// <summary>Every parameter, frozen ones of the adapter included.</summary>
    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>Those that training changes.</summary>
    public IEnumerable<Parameter> TrainedParameters => Parameters.Where(parameter => parameter.IsTrained);

    /// <summary>What is trained; null for every weight of the base.</summary>
    public AdapterRecipe? Recipe { get; }

    /// <summary>
    /// Most bytes that training has held on the device: parameters, their gradients and moments, activations, what is kept of them for the
    /// way back, and their gradients; without the base and the backend's own scratch. It grows until the largest batch has been seen.
    /// </summary>
    public long PeakBytes => _recording.TakenBytes + _tape.PeakBytes;

    /// <summary>AdaLoRA: which components are kept, by the name of a module's singular values; null before the first pruning.</summary>
    public IReadOnlyDictionary<string, bool[]>? KeptComponents => Allocator?.Kept;

    internal IEnumerable<ModuleMethod> Modules => _adapter?.Modules ?? [];

    /// <summary>VeRA's shared projections.</summary>
    internal (Parameter A, Parameter B)? Projections { get; }

    internal IComputeBackend Backend => _backend;

    private AdaLoraAllocator? Allocator { get; }

    /// <summary>Begins to train an adapter.</summary>
    /// <param name="model">The base.</param>
    /// <param name="backend">Computes the forward; for this trainer alone while it runs.</param>
    /// <param name="operations">The backend's training half.</param>
    /// <param name="recipe">The adapter's config.</param>
    /// <param name="options">How to optimise.</param>
    /// <param name="startFolder">An adapter of the same config to start from; null to draw the start values.</param>
    /// <exception cref="AdapterFormatException">The recipe does not fit the base, or the start does not fit the recipe.</exception>
    public static Trainer ForAdapter(
        TransformerModel model,
        IComputeBackend backend,
        ITrainingBackend operations,
        AdapterRecipe recipe,
        TrainingOptions options,
        string? startFolder = null)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        using SafetensorsFile? start = startFolder is null
            ? null
            : SafetensorsFile.Open(Path.Combine(startFolder, PeftImporter.WeightsFileName));
        return new Trainer(model, backend, operations, recipe, start, options);
    }

    /// <summary>Begins to train every weight of a base; the base itself stays as it is.</summary>
    public static Trainer ForAllWeights(
        TransformerModel model, IComputeBackend backend, ITrainingBackend operations, TrainingOptions options) =>
        new(model, backend, operations, null, null, options);

    /// <summary>One step: gradients of the micro-batches, then the change of the parameters.</summary>
    /// <exception cref="TrainingFailedException">Loss or gradients are not finite.</exception>
    public TrainingStep Step(params IReadOnlyList<SupervisedBatch> microBatches)
    {
        ComputeGradients(microBatches);
        return ApplyGradients();
    }

    /// <summary>Loss and gradients: the mean over the micro-batches of each one's mean over its labelled tokens.</summary>
    /// <returns>The loss, AdaLoRA's orthogonality term included.</returns>
    public double ComputeGradients(params IReadOnlyList<SupervisedBatch> microBatches)
    {
        ArgumentNullException.ThrowIfNull(microBatches);
        foreach (Parameter parameter in TrainedParameters)
        {
            _operations.Clear(parameter.Gradient);
        }

        _loss = 0;
        foreach (SupervisedBatch batch in microBatches)
        {
            _loss += AddGradients(batch, microBatches.Count);
        }

        _loss += _orthogonality?.Add(withGradients: true) ?? 0;
        return double.IsFinite(_loss) ? _loss : throw new TrainingFailedException($"the loss of step {_stepCount + 1} is {_loss}");
    }

    /// <summary>Changes the parameters by the gradients just computed.</summary>
    public TrainingStep ApplyGradients()
    {
        double norm = Math.Sqrt(_operations.SumOfSquares([.. TrainedParameters.Select(parameter => parameter.Gradient)]));
        if (!double.IsFinite(norm))
        {
            throw new TrainingFailedException($"the gradients of step {_stepCount + 1} have the length {norm}");
        }

        // As torch's clip_grad_norm_, which adds 1e-6 to the length.
        float factor = _options.MaxGradientNorm > 0 ? (float)Math.Min(1, _options.MaxGradientNorm / (norm + 1e-6)) : 1f;
        IReadOnlyList<double> rates = _optimizer.LearningRates;
        _optimizer.Step(factor);
        _stepCount++;
        Allocator?.Update(_stepCount, factor);
        foreach (ModuleMethod module in Modules)
        {
            module.AfterStep(_operations, _stepCount);
        }

        return new TrainingStep(_stepCount, _loss, norm, rates);
    }

    /// <summary>Loss of a batch as it is now; nothing changes. AdaLoRA's orthogonality term is included, as in PEFT.</summary>
    public double Evaluate(SupervisedBatch batch) => EvaluateTokens(batch) + (_orthogonality?.Add(withGradients: false) ?? 0);

    public void Dispose()
    {
        _orthogonality?.Dispose();
        _optimizer.Dispose();
        _projection?.Dispose();
        _adapter?.Dispose();
        Projections?.A.Dispose();
        Projections?.B.Dispose();
        if (_adapter is null)
        {
            foreach (Parameter parameter in Parameters)
            {
                parameter.Dispose();
            }
        }

        _cache.Dispose();
        _model.Dispose();
        _tape.Dispose();
    }
}
