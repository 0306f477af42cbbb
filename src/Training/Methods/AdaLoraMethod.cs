using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>AdaLoRA: <c>y += s B (E (A x))</c> with one singular value E for each of R components; s = alpha / (init_r + 1e-5).</summary>
internal sealed class AdaLoraMethod : ModuleMethod
{
    private readonly float _scale;
    private readonly float _dropout;

    public AdaLoraMethod(Parameter a, Parameter b, Parameter values, float scale, float dropout)
    {
        _dropout = dropout;
        A = a;
        B = b;
        Values = values;
        _scale = scale;
    }

    /// <summary><c>[R, in]</c>, rows near orthonormal.</summary>
    public Parameter A { get; }

    /// <summary><c>[out, R]</c>, columns near orthonormal.</summary>
    public Parameter B { get; }

    /// <summary>E, one row of R.</summary>
    public Parameter Values { get; }

    public override IReadOnlyList<Parameter> Parameters => [A, B, Values];

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        AdapterInput input = AdapterInput.Of(tape, x, _dropout);
        TensorView inner = tape.Take(x.Rows, A.Value.Rows);
        TensorView scaled = tape.Take(x.Rows, A.Value.Rows);
        operations.MultiplyTransposed(1f, input.View, A.Value, inner, add: false);
        operations.ScaleColumns(inner, Values.Value, scaled, add: false);
        operations.MultiplyTransposed(_scale, scaled, B.Value, y, add: true);
        tape.Changed(y);
        if (!tape.IsRecording)
        {
            return;
        }

        TensorView kept = input.Keep(tape);
        tape.Record(() =>
        {
            TensorView dy = tape.GradientOf(y);
            TensorView dscaled = tape.Take(inner.Rows, inner.Columns);
            operations.AddTransposedProduct(_scale, dy, scaled, B.Gradient);
            operations.Multiply(_scale, dy, B.Value, dscaled, add: false);
            operations.AddColumnSums(dscaled, inner, Values.Gradient);
            operations.ScaleColumns(dscaled, Values.Value, dscaled, add: false);
            operations.AddTransposedProduct(1f, dscaled, kept, A.Gradient);
            input.Backward(tape, dscaled, A.Value);
        });
    }
}
