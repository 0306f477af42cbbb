using System.Globalization;
using System.Text.Json;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Tensors;
using InferenceServer.Training.Checkpoints;

namespace InferenceServer.Training;

/// <content>What the next steps depend on, out and in again.</content>
public sealed partial class Trainer
{
    private string? _base;

    /// <summary>Steps done.</summary>
    public int StepCount => _stepCount;

    /// <summary>How it optimises, and how large a batch may be.</summary>
    public TrainingOptions Options => _options;

    /// <summary>What must be the same for a resumed run to be the one that was interrupted: options, recipe and base, by name.</summary>
    internal IEnumerable<KeyValuePair<string, string>> Conditions =>
        JsonSerializer.SerializeToElement(_options).EnumerateObject()
            .Select(option => KeyValuePair.Create(option.Name, option.Value.GetRawText()))
            .Append(KeyValuePair.Create("recipe", Recipe?.CopyJson().ToJsonString() ?? "all weights"))
            .Append(KeyValuePair.Create("base", _base ??= $"{_model.Shape.Name} {BaseFingerprint.Compute(_model.Shape)}"))
            .Append(KeyValuePair.Create("base weights", _model.WeightFormat.ToString()));

    private IEnumerable<Parameter> StoredParameters => Projections is { } shared ? [.. Parameters, shared.A, shared.B] : Parameters;

    /// <summary>Copies everything that the next steps depend on besides the base, the options and the recipe.</summary>
    /// <exception cref="TrainingFailedException">A parameter is not finite: nothing good can come of it.</exception>
    internal TrainerState CaptureState()
    {
        TrainerState state = new() { StepCount = _stepCount, ForwardCount = _forwardCount };
        int number = 0;
        foreach (Parameter parameter in StoredParameters)
        {
            // Numbered, because names need not be unique.
            string name = string.Create(CultureInfo.InvariantCulture, $"{number++}.{parameter.Name}");
            float[] values = ReadValues(parameter.Value);
            if (Array.Exists(values, value => !float.IsFinite(value)))
            {
                throw new TrainingFailedException($"after step {_stepCount} a value of {parameter.Name} is not finite");
            }

            state.Tensors.Add("value." + name, values);
            if (parameter.IsTrained)
            {
                (TensorView first, TensorView second) = _optimizer.MomentsOf(parameter);
                state.Tensors.Add("first moment." + name, ReadValues(first));
                state.Tensors.Add("second moment." + name, ReadValues(second));
            }
        }

        Allocator?.CaptureState(state);
        return state;
    }

    /// <summary>Goes on from a state, which a trainer of the same base, options and recipe captured.</summary>
    /// <exception cref="InvalidDataException">It is of another trainer; nothing has changed.</exception>
    internal void RestoreState(TrainerState state)
    {
        List<(DeviceBuffer Buffer, float[] Values)> writes = [];
        HashSet<Parameter> followers = [.. Modules.SelectMany(module => module.Followers)];
        int number = 0;
        foreach (Parameter parameter in StoredParameters)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"{number++}.{parameter.Name}");
            float[] values = state.Get("value." + name, parameter.Count);
            if (parameter.IsTrained)
            {
                (TensorView first, TensorView second) = _optimizer.MomentsOf(parameter);
                writes.Add((first.Buffer, state.Get("first moment." + name, parameter.Count)));
                writes.Add((second.Buffer, state.Get("second moment." + name, parameter.Count)));
            }

            if (parameter.IsTrained || followers.Contains(parameter))
            {
                writes.Add((parameter.ValueBuffer, values));
            }
            else if (!ReadValues(parameter.Value).AsSpan().SequenceEqual(values))
            {
                throw new InvalidDataException($"the frozen {parameter.Name} has other values: this trainer started from something else");
            }
        }

        Allocator?.RestoreState(state);
        foreach ((DeviceBuffer buffer, float[] values) in writes)
        {
            _backend.Write(values, buffer);
        }

        _stepCount = state.StepCount;
        _optimizer.StepCount = state.StepCount;
        _forwardCount = state.ForwardCount;
    }

    private float[] ReadValues(TensorView view)
    {
        float[] values = new float[(long)view.Rows * view.Columns];
        _backend.Read(view, values);
        return values;
    }
}
