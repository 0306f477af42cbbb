using InferenceServer.Tensors;
using InferenceServer.Training.Checkpoints;

namespace InferenceServer.Training.Methods;

/// <summary>
/// AdaLoRA's choice of the components to keep: each has a score from its singular value and vectors,
/// <c>s(E_i) + mean s(A_i) + mean s(B_i)</c> with <c>s(w) = ema|w dw| * ema of its uncertainty</c>, and those with the lowest scores over
/// all modules are set to zero. As PEFT's RankAllocator: called after the optimiser's step, with the gradients of that step.
/// </summary>
internal sealed class AdaLoraAllocator
{
    private const string SensitivityPrefix = "sensitivity.";
    private const string UncertaintyPrefix = "uncertainty.";
    private const string KeptPrefix = "kept.";

    private readonly IComputeBackend _backend;
    private readonly AdaLoraSchedule _schedule;
    private readonly AdaLoraMethod[] _modules;
    private readonly Dictionary<Parameter, (float[] Sensitivity, float[] Uncertainty)> _averages = [];
    private readonly int _initialBudget;
    private readonly int _targetBudget;

    public AdaLoraAllocator(IComputeBackend backend, AdaLoraSchedule schedule, IEnumerable<AdaLoraMethod> modules)
    {
        _backend = backend;
        _schedule = schedule;
        _modules = [.. modules];
        _initialBudget = _modules.Sum(module => module.A.Value.Rows);
        _targetBudget = _modules.Length * schedule.TargetRank;
    }

    /// <summary>Which components of each module are kept, by the name of its singular values; null before the first pruning.</summary>
    public IReadOnlyDictionary<string, bool[]>? Kept { get; private set; }

    /// <summary>Updates the scores and, when the schedule says so, prunes.</summary>
    /// <param name="step">Number of the step just done, from 1.</param>
    /// <param name="gradientFactor">Factor of all gradients (clipping).</param>
    public void Update(int step, float gradientFactor)
    {
        int last = _schedule.TotalSteps - _schedule.FinalSteps;
        if (step > last)
        {
            Prune(Kept);
            return;
        }

        if (step < last)
        {
            foreach (Parameter parameter in _modules.SelectMany(module => module.Parameters))
            {
                UpdateScores(parameter, gradientFactor);
            }
        }

        (int budget, bool prunes) = _schedule.BudgetAt(step, _initialBudget, _targetBudget);
        if (prunes || step == last)
        {
            Kept = Choose(budget);
            Prune(Kept);
        }
    }

    /// <summary>Adds the averages and the choice to a checkpoint.</summary>
    public void CaptureState(TrainerState state)
    {
        foreach ((Parameter parameter, (float[] sensitivity, float[] uncertainty)) in _averages)
        {
            state.Tensors.Add(SensitivityPrefix + parameter.Name, [.. sensitivity]);
            state.Tensors.Add(UncertaintyPrefix + parameter.Name, [.. uncertainty]);
        }

        foreach ((string name, bool[] mask) in Kept ?? new Dictionary<string, bool[]>())
        {
            state.Tensors.Add(KeptPrefix + name, [.. mask.Select(isKept => isKept ? 1f : 0f)]);
        }
    }

    /// <summary>Takes both from a checkpoint.</summary>
    /// <exception cref="InvalidDataException">It is of other modules; nothing has changed.</exception>
    public void RestoreState(TrainerState state)
    {
        Dictionary<Parameter, (float[] Sensitivity, float[] Uncertainty)> averages = [];
        foreach (Parameter parameter in _modules.SelectMany(module => module.Parameters))
        {
            if (state.Tensors.ContainsKey(SensitivityPrefix + parameter.Name))
            {
                float[] sensitivity = state.Get(SensitivityPrefix + parameter.Name, parameter.Count);
                averages.Add(parameter, (sensitivity, state.Get(UncertaintyPrefix + parameter.Name, parameter.Count)));
            }
        }

        Dictionary<string, bool[]> kept = new(StringComparer.Ordinal);
        foreach (Parameter values in _modules.Select(module => module.Values))
        {
            if (state.Tensors.ContainsKey(KeptPrefix + values.Name))
            {
                kept.Add(values.Name, [.. state.Get(KeptPrefix + values.Name, values.Count).Select(value => value != 0)]);
            }
        }

        _averages.Clear();
        foreach ((Parameter parameter, (float[] Sensitivity, float[] Uncertainty) average) in averages)
        {
            _averages.Add(parameter, average);
        }

        Kept = kept.Count > 0 ? kept : null;
    }

    private void UpdateScores(Parameter parameter, float gradientFactor)
    {
        float[] values = Read(parameter.Value);
        float[] gradients = Read(parameter.Gradient);
        if (!_averages.TryGetValue(parameter, out (float[] Sensitivity, float[] Uncertainty) average))
        {
            average = (new float[values.Length], new float[values.Length]);
            _averages.Add(parameter, average);
        }

        for (int i = 0; i < values.Length; i++)
        {
            float sensitivity = Math.Abs(values[i] * (gradients[i] * gradientFactor));
            average.Sensitivity[i] = (_schedule.Beta1 * average.Sensitivity[i]) + ((1 - _schedule.Beta1) * sensitivity);
            average.Uncertainty[i] = (_schedule.Beta2 * average.Uncertainty[i])
                + ((1 - _schedule.Beta2) * Math.Abs(sensitivity - average.Sensitivity[i]));
        }
    }

    private Dictionary<string, bool[]> Choose(int budget)
    {
        float[][] scores = [.. _modules.Select(Scores)];
        int dropped = _initialBudget - budget;
        float[] sorted = [.. scores.SelectMany(score => score).Order()];
        float threshold = dropped > 0 ? sorted[dropped - 1] : float.NegativeInfinity;
        Dictionary<string, bool[]> kept = new(StringComparer.Ordinal);
        for (int i = 0; i < _modules.Length; i++)
        {
            kept.Add(_modules[i].Values.Name, [.. scores[i].Select(score => score > threshold)]);
        }

        return kept;
    }

    private float[] Scores(AdaLoraMethod module)
    {
        int rank = module.A.Value.Rows;
        int columns = module.A.Value.Columns;
        int rows = module.B.Value.Rows;
        float[] scores = new float[rank];
        for (int r = 0; r < rank; r++)
        {
            double ofA = 0;
            for (int i = 0; i < columns; i++)
            {
                ofA += Score(module.A, (r * columns) + i);
            }

            double ofB = 0;
            for (int o = 0; o < rows; o++)
            {
                ofB += Score(module.B, (o * rank) + r);
            }

            scores[r] = Score(module.Values, r) + (float)((ofA / columns) + (ofB / rows));
        }

        return scores;
    }

    private float Score(Parameter parameter, int element) =>
        _averages.TryGetValue(parameter, out (float[] Sensitivity, float[] Uncertainty) average)
            ? average.Sensitivity[element] * average.Uncertainty[element]
            : 0;

    private void Prune(IReadOnlyDictionary<string, bool[]>? kept)
    {
        foreach (AdaLoraMethod module in _modules)
        {
            if (kept is not null && kept.TryGetValue(module.Values.Name, out bool[]? mask))
            {
                float[] values = Read(module.Values.Value);
                for (int r = 0; r < values.Length; r++)
                {
                    values[r] = mask[r] ? values[r] : 0;
                }

                _backend.Write(values, module.Values.ValueBuffer);
            }
        }
    }

    private float[] Read(TensorView view)
    {
        float[] values = new float[view.Rows * view.Columns];
        _backend.Read(view, values);
        return values;
    }
}
