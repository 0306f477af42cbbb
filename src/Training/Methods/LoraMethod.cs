using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>
/// LoRA: <c>y += s B (A x)</c>; rsLoRA differs in s only, LoRA-FA in that A is frozen, so that A x is kept and x is not.
/// </summary>
internal sealed class LoraMethod : ModuleMethod
{
    private readonly float _dropout;

    /// <param name="a"><c>[R, in]</c>.</param>
    /// <param name="b"><c>[out, R]</c>.</param>
    /// <param name="scale">s.</param>
    /// <param name="dropout">Share of the branch's input that is dropped in training.</param>
    public LoraMethod(Parameter a, Parameter b, float scale, float dropout = 0)
    {
        _dropout = dropout;
        A = a;
        B = b;
        Scale = scale;
    }

    public Parameter A { get; }

    public Parameter B { get; }

    /// <summary>s.</summary>
    public float Scale { get; }

    /// <summary>Told what is added to the output, where somebody asks; LoRA-drop's importance.</summary>
    public OutputMeter? Meter { get; set; }

    public override IReadOnlyList<Parameter> Parameters => [A, B];

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        AdapterInput input = AdapterInput.Of(tape, x, _dropout);
        TensorView inner = tape.Take(x.Rows, A.Value.Rows);
        operations.MultiplyTransposed(1f, input.View, A.Value, inner, add: false);
        if (Meter is { } meter)
        {
            TensorView change = tape.Take(y.Rows, y.Columns);
            operations.MultiplyTransposed(Scale, inner, B.Value, change, add: false);
            meter.Add(operations.SumOfSquares([change]), change.Rows);
        }

        operations.MultiplyTransposed(Scale, inner, B.Value, y, add: true);
        tape.Changed(y);
        if (!tape.IsRecording)
        {
            return;
        }

        TensorView kept = A.IsTrained ? input.Keep(tape) : x;
        tape.Record(() =>
        {
            TensorView dy = tape.GradientOf(y);
            TensorView dinner = tape.Take(inner.Rows, inner.Columns);
            operations.Multiply(Scale, dy, B.Value, dinner, add: false);
            operations.AddTransposedProduct(Scale, dy, inner, B.Gradient);
            if (A.IsTrained)
            {
                operations.AddTransposedProduct(1f, dinner, kept, A.Gradient);
            }

            input.Backward(tape, dinner, A.Value);
        });
    }
}
