using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>LoRA on the embedding: <c>y[t] += s B A[:, token]</c>, A <c>[R, V]</c>, B <c>[H, R]</c>.</summary>
internal sealed class EmbeddingLoraMethod : ModuleMethod
{
    private readonly Parameter _a;
    private readonly Parameter _b;
    private readonly float _scale;

    public EmbeddingLoraMethod(Parameter a, Parameter b, float scale)
    {
        _a = a;
        _b = b;
        _scale = scale;
    }

    public override IReadOnlyList<Parameter> Parameters => [_a, _b];

    public override void ApplyToEmbedding(GradientTape tape, int[] tokens, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        TensorView inner = tape.Take(y.Rows, _a.Value.Rows);
        operations.GatherColumns(_a.Value, tokens, inner);
        operations.MultiplyTransposed(_scale, inner, _b.Value, y, add: true);
        tape.Changed(y);
        if (tape.IsRecording)
        {
            tape.Record(() =>
            {
                TensorView dy = tape.GradientOf(y);
                TensorView dinner = tape.Take(inner.Rows, inner.Columns);
                operations.AddTransposedProduct(_scale, dy, inner, _b.Gradient);
                if (_a.IsTrained)
                {
                    operations.Multiply(_scale, dy, _b.Value, dinner, add: false);
                    operations.ScatterColumns(dinner, tokens, _a.Gradient);
                }
            });
        }
    }
}
