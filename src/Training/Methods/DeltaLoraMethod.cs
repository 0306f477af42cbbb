using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>
/// Delta-LoRA: after K steps <c>W' = W + lambda s (B' A' - B A)</c> at every step, while A and B get the gradients of the low-rank branch
/// alone. The sum of all changes is <c>lambda s (B A - B_K A_K)</c>, so that W stays as it is and shared:
/// <c>y = W x + s (1 + lambda) B (A x) - s lambda B_K (A_K x)</c>.
/// </summary>
internal sealed class DeltaLoraMethod : ModuleMethod
{
    private readonly float _scale;
    private readonly DeltaLoraConfig _config;

    /// <param name="a"><c>[R, in]</c>.</param>
    /// <param name="b"><c>[out, R]</c>.</param>
    /// <param name="anchorA">A_K, frozen; holds A's start.</param>
    /// <param name="anchorB">B_K, frozen; holds B's start.</param>
    /// <param name="scale">s.</param>
    /// <param name="config">lambda and K.</param>
    public DeltaLoraMethod(Parameter a, Parameter b, Parameter anchorA, Parameter anchorB, float scale, DeltaLoraConfig config)
    {
        A = a;
        B = b;
        AnchorA = anchorA;
        AnchorB = anchorB;
        _scale = scale;
        _config = config;
    }

    public Parameter A { get; }

    public Parameter B { get; }

    /// <summary>A_K; until step K it follows A, so that the base takes no part.</summary>
    public Parameter AnchorA { get; }

    /// <summary>B_K.</summary>
    public Parameter AnchorB { get; }

    /// <summary>lambda.</summary>
    public float Ratio => (float)_config.Ratio;

    /// <summary>With the anchors, without which a run cannot go on.</summary>
    public override IReadOnlyList<Parameter> Parameters => [A, B, AnchorA, AnchorB];

    public override IReadOnlyList<Parameter> Followers => [AnchorA, AnchorB];

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        TensorView inner = tape.Take(x.Rows, A.Value.Rows);
        TensorView anchored = tape.Take(x.Rows, A.Value.Rows);
        operations.MultiplyTransposed(1f, x, A.Value, inner, add: false);
        operations.MultiplyTransposed(1f, x, AnchorA.Value, anchored, add: false);
        operations.MultiplyTransposed(_scale * (1 + Ratio), inner, B.Value, y, add: true);
        operations.MultiplyTransposed(-_scale * Ratio, anchored, AnchorB.Value, y, add: true);
        tape.Changed(y);
        if (!tape.IsRecording)
        {
            return;
        }

        TensorView kept = A.IsTrained ? tape.Keep(x) : x;
        tape.Record(() =>
        {
            TensorView dy = tape.GradientOf(y);
            TensorView dx = tape.GradientOf(x);
            TensorView dinner = tape.Take(inner.Rows, inner.Columns);
            operations.Multiply(_scale, dy, B.Value, dinner, add: false);
            operations.AddTransposedProduct(_scale, dy, inner, B.Gradient);
            if (A.IsTrained)
            {
                operations.AddTransposedProduct(1f, dinner, kept, A.Gradient);
            }

            // What the weight has taken passes the gradient of x on and has none of its own.
            operations.Multiply(1 + Ratio, dinner, A.Value, dx, add: true);
            operations.Multiply(-_scale * Ratio, dy, AnchorB.Value, dinner, add: false);
            operations.Multiply(1f, dinner, AnchorA.Value, dx, add: true);
        });
    }

    public override void AfterStep(ITrainingBackend operations, int step)
    {
        if (step <= _config.WarmUpSteps)
        {
            operations.Copy(A.Value, AnchorA.Value);
            operations.Copy(B.Value, AnchorB.Value);
        }
    }
}
