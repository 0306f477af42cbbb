using InferenceServer.Tensors;
using InferenceServer.Training.Starts;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>
/// PiSSA and OLoRA: A and B start as a part of W, which is taken out of W. The base stays shared and as it is:
/// <c>y = W x - s B0 (A0 x) + s B (A x)</c> is the same as starting from the residual <c>W - s B0 A0</c>.
/// </summary>
internal sealed class ResidualLoraMethod : ModuleMethod
{
    private readonly LoraMethod _trained;
    private readonly Parameter _startA;
    private readonly Parameter _startB;

    /// <param name="trained">A and B.</param>
    /// <param name="startA">A0, frozen.</param>
    /// <param name="startB">B0, frozen.</param>
    /// <param name="start">The values of A0 and B0, for export.</param>
    public ResidualLoraMethod(LoraMethod trained, Parameter startA, Parameter startB, LowRankStart start)
    {
        _trained = trained;
        _startA = startA;
        _startB = startB;
        Start = start;
    }

    /// <summary>The factors that were taken out of the base.</summary>
    public LowRankStart Start { get; }

    public Parameter A => _trained.A;

    public Parameter B => _trained.B;

    public override IReadOnlyList<Parameter> Parameters => _trained.Parameters;

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        // The frozen part passes the gradient of x on and has no gradient of its own.
        ApplyRemoved(tape, x, y);
        _trained.Apply(tape, x, y);
    }

    public override void Dispose()
    {
        base.Dispose();
        _startA.Dispose();
        _startB.Dispose();
    }

    private void ApplyRemoved(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        TensorView inner = tape.Take(x.Rows, _startA.Value.Rows);
        operations.MultiplyTransposed(1f, x, _startA.Value, inner, add: false);
        operations.MultiplyTransposed(-Start.Scale, inner, _startB.Value, y, add: true);
        tape.Changed(y);
        if (tape.IsRecording)
        {
            tape.Record(() =>
            {
                TensorView dinner = tape.Take(inner.Rows, inner.Columns);
                operations.Multiply(-Start.Scale, tape.GradientOf(y), _startB.Value, dinner, add: false);
                operations.Multiply(1f, dinner, _startA.Value, tape.GradientOf(x), add: true);
            });
        }
    }
}
