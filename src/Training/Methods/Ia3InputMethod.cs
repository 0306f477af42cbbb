using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>IA3 on a feed-forward module: <c>W (l x)</c>.</summary>
internal sealed class Ia3InputMethod : ModuleMethod
{
    private readonly Parameter _factors;

    public Ia3InputMethod(Parameter factors) => _factors = factors;

    public override IReadOnlyList<Parameter> Parameters => [_factors];

    public override bool ScalesInput => true;

    public override void ScaleInput(GradientTape tape, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        TensorView kept = tape.IsRecording ? tape.Keep(y) : y;
        operations.ScaleColumns(y, _factors.Value, y, add: false);
        tape.Changed(y);
        if (tape.IsRecording)
        {
            tape.Record(() =>
            {
                TensorView dy = tape.GradientOf(y);
                operations.AddColumnSums(dy, kept, _factors.Gradient);
                operations.ScaleColumns(dy, _factors.Value, dy, add: false);
            });
        }
    }
}
