using InferenceServer.Tensors;

namespace InferenceServer.Training.Optimisation;

/// <summary>Adam with decoupled decay over groups of parameters; holds the two moments of each, f32.</summary>
internal sealed class AdamOptimizer : IDisposable
{
    private readonly ITrainingBackend _operations;
    private readonly TrainingOptions _options;
    private readonly LoraFaProjection? _projection;
    private readonly Dictionary<Parameter, (TensorView First, TensorView Second)> _moments = [];
    private readonly List<DeviceBuffer> _buffers = [];
    private readonly IReadOnlyList<ParameterGroup> _groups;

    /// <param name="backend">Where the moments live.</param>
    /// <param name="operations">Computes the steps.</param>
    /// <param name="options">Rates, memories, decay.</param>
    /// <param name="parameters">The trained parameters.</param>
    /// <param name="projection">LoRA-FA's change of B's gradients, or null.</param>
    public AdamOptimizer(
        IComputeBackend backend,
        ITrainingBackend operations,
        TrainingOptions options,
        IReadOnlyList<Parameter> parameters,
        LoraFaProjection? projection)
    {
        _operations = operations;
        _options = options;
        _projection = projection;
        _groups = ParameterGroup.Create(options, parameters);
        foreach (Parameter parameter in parameters)
        {
            _moments.Add(parameter, (Zeros(backend, parameter), Zeros(backend, parameter)));
        }
    }

    /// <summary>Steps done; set to go on from a checkpoint.</summary>
    public int StepCount { get; set; }

    /// <summary>Learning rate of each group at the step to come.</summary>
    public IReadOnlyList<double> LearningRates
    {
        get
        {
            double factor = LearningRateSchedule.Factor(_options.Schedule, StepCount, _options.WarmUpSteps, _options.TotalSteps);
            return [.. _groups.Select(group => group.LearningRate * factor)];
        }
    }

    /// <summary>The two moments of a trained parameter.</summary>
    public (TensorView First, TensorView Second) MomentsOf(Parameter parameter) => _moments[parameter];

    /// <summary>Changes all parameters by their gradients.</summary>
    /// <param name="gradientFactor">Factor of all gradients (clipping).</param>
    public void Step(float gradientFactor)
    {
        IReadOnlyList<double> rates = LearningRates;
        StepCount++;
        double firstCorrection = 1 - Math.Pow(_options.Beta1, StepCount);
        double rootCorrection = Math.Sqrt(1 - Math.Pow(_options.Beta2, StepCount));
        bool isLoraFa = _options.Optimizer == OptimizerKind.LoraFa;
        for (int i = 0; i < _groups.Count; i++)
        {
            // PEFT's LoRA-FA corrects the rate for both moments, so that epsilon is added to the uncorrected root, and decays afterwards.
            double rate = rates[i] / firstCorrection * (isLoraFa ? rootCorrection : 1);
            AdamStep step = new(
                gradientFactor,
                (float)_options.Beta1,
                (float)_options.Beta2,
                (float)rate,
                isLoraFa ? 1f : (float)rootCorrection,
                (float)(_options.Epsilon ?? (isLoraFa ? 1e-6 : 1e-8)),
                (float)(1 - (rates[i] * _groups[i].WeightDecay)),
                ShrinkAfter: isLoraFa);
            foreach (Parameter parameter in _groups[i].Parameters)
            {
                (TensorView first, TensorView second) = _moments[parameter];
                TensorView gradient = _projection?.Apply(parameter) ?? parameter.Gradient;
                _operations.Adam(step, gradient, first, second, parameter.Value);
            }
        }
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers)
        {
            buffer.Dispose();
        }
    }

    private TensorView Zeros(IComputeBackend backend, Parameter parameter)
    {
        DeviceBuffer buffer = backend.Allocate(parameter.Count * sizeof(float), "moment of " + parameter.Name);
        _buffers.Add(buffer);
        return new TensorView(buffer, parameter.Value.Rows, parameter.Value.Columns);
    }
}
