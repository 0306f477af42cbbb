using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>
/// LoRA: <c>y += s B (A x)</c>; rsLoRA differs in s only, LoRA-FA in that A is frozen, so that A x is kept and x is not.
/// </summary>
internal sealed class LoraMethod : ModuleMethod
{
    /// <param name="a"><c>[R, in]</c>.</param>
    /// <param name="b"><c>[out, R]</c>.</param>
    /// <param name="scale">s.</param>
    public LoraMethod(Parameter a, Parameter b, float scale)
    {
        A = a;
        B = b;
        Scale = scale;
    }

    public Parameter A { get; }

    public Parameter B { get; }

    /// <summary>s.</summary>
    public float Scale { get; }

    public override IReadOnlyList<Parameter> Parameters => [A, B];

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        TensorView inner = tape.Take(x.Rows, A.Value.Rows);
        operations.MultiplyTransposed(1f, x, A.Value, inner, add: false);
        operations.MultiplyTransposed(Scale, inner, B.Value, y, add: true);
        tape.Changed(y);
        if (!tape.IsRecording)
        {
            return;
        }

        TensorView kept = A.IsTrained ? tape.Keep(x) : x;
        tape.Record(() =>
        {
            TensorView dy = tape.GradientOf(y);
            TensorView dinner = tape.Take(inner.Rows, inner.Columns);
            operations.Multiply(Scale, dy, B.Value, dinner, add: false);
            operations.AddTransposedProduct(Scale, dy, inner, B.Gradient);
            operations.Multiply(1f, dinner, A.Value, tape.GradientOf(x), add: true);
            if (A.IsTrained)
            {
                operations.AddTransposedProduct(1f, dinner, kept, A.Gradient);
            }
        });
    }
}
