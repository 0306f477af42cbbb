using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>modules_to_save: a trained copy takes the place of the module's weight.</summary>
internal sealed class SavedModuleMethod : ModuleMethod
{
    private readonly ModuleShape _module;
    private readonly Parameter _weight;
    private readonly ReplacementMatrix? _matrix;

    /// <param name="module">A linear module, an embedding or a norm.</param>
    /// <param name="weight">Its weight: <c>[out, in]</c>, of an embedding <c>[V, H]</c>, of a norm one row.</param>
    /// <param name="trained">Told which weights are parameters.</param>
    public SavedModuleMethod(ModuleShape module, Parameter weight, TrainedWeights trained)
    {
        _module = module;
        _weight = weight;
        if (module.Kind == ModuleKind.Norm)
        {
            trained.Add(weight.ValueBuffer, weight);
        }
        else if (module.Kind != ModuleKind.Embedding)
        {
            _matrix = new ReplacementMatrix(module.OutFeatures, module.InFeatures, module.Path);
            trained.Add(_matrix, weight);
        }
    }

    public override IReadOnlyList<Parameter> Parameters => [_weight];

    public override WeightMatrix? Replacement => _matrix;

    public override DeviceBuffer? NormWeight => _module.Kind == ModuleKind.Norm ? _weight.ValueBuffer : null;

    public override void ApplyToEmbedding(GradientTape tape, int[] tokens, TensorView y)
    {
        tape.Operations.GatherRows(_weight.Value, tokens, y);
        tape.Changed(y);
        if (tape.IsRecording)
        {
            tape.Record(() =>
            {
                TensorView dy = tape.GradientOf(y);
                tape.Operations.ScatterRows(dy, tokens, _weight.Gradient);
                tape.Operations.Clear(dy);
            });
        }
    }
}
