using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>
/// A router over adapters: <c>y += B (g A x)</c> with A and B of several adapters side by side and, for each row,
/// <c>g = softmax((G x + c) / temperature)</c> by block. G and c are trained, A and B by wish.
/// </summary>
internal sealed class RouterMethod : ModuleMethod
{
    private readonly Parameter _a;
    private readonly Parameter _b;
    private readonly Parameter _gate;
    private readonly Parameter? _bias;
    private readonly float _temperature;
    private readonly int _topK;

    /// <param name="path">The module.</param>
    /// <param name="blockRanks">Rank of each adapter's block.</param>
    /// <param name="a"><c>[R, in]</c>.</param>
    /// <param name="b"><c>[out, R]</c>, scales folded in.</param>
    /// <param name="gate">G, <c>[n, in]</c>.</param>
    /// <param name="bias">c, one row, or null.</param>
    /// <param name="temperature">Divides the scores.</param>
    /// <param name="topK">Blocks that take part in a row.</param>
    public RouterMethod(
        string path, int[] blockRanks, Parameter a, Parameter b, Parameter gate, Parameter? bias, float temperature, int topK)
    {
        Path = path;
        BlockRanks = blockRanks;
        _a = a;
        _b = b;
        _gate = gate;
        _bias = bias;
        _temperature = temperature;
        _topK = topK;
    }

    public string Path { get; }

    public int[] BlockRanks { get; }

    public override IReadOnlyList<Parameter> Parameters => _bias is null ? [_a, _b, _gate] : [_a, _b, _gate, _bias];

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        TensorView inner = tape.Take(x.Rows, _a.Value.Rows);
        TensorView weights = tape.Take(x.Rows, BlockRanks.Length);
        TensorView weighed = tape.Take(x.Rows, _a.Value.Rows);
        operations.MultiplyTransposed(1f, x, _a.Value, inner, add: false);
        operations.MultiplyTransposed(1f, x, _gate.Value, weights, add: false);
        operations.GateSoftmax(weights, _bias?.Value, _temperature, _topK, weights);
        operations.ScaleBlocks(inner, weights, BlockRanks, weighed);
        operations.MultiplyTransposed(1f, weighed, _b.Value, y, add: true);
        tape.Changed(y);
        if (!tape.IsRecording)
        {
            return;
        }

        TensorView kept = tape.Keep(x);
        tape.Record(() =>
        {
            TensorView dy = tape.GradientOf(y);
            TensorView dx = tape.GradientOf(x);
            TensorView dinner = tape.Take(inner.Rows, inner.Columns);
            TensorView dscores = tape.Take(weights.Rows, weights.Columns);
            operations.Multiply(1f, dy, _b.Value, dinner, add: false);

            // Here dinner is the gradient of g A x: of its blocks the products with A x are the gradients of g.
            operations.BlockProducts(dinner, inner, BlockRanks, dscores);
            operations.GateSoftmaxBackward(weights, _temperature, dscores, dscores);
            operations.AddTransposedProduct(1f, dscores, kept, _gate.Gradient);
            if (_bias is not null)
            {
                operations.AddColumnSums(dscores, null, _bias.Gradient);
            }

            operations.Multiply(1f, dscores, _gate.Value, dx, add: true);
            operations.ScaleBlocks(dinner, weights, BlockRanks, dinner);
            operations.Multiply(1f, dinner, _a.Value, dx, add: true);
            if (_a.IsTrained)
            {
                operations.AddTransposedProduct(1f, dinner, kept, _a.Gradient);
            }

            if (_b.IsTrained)
            {
                operations.AddTransposedProduct(1f, dy, weighed, _b.Gradient);
            }
        });
    }
}
