using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>VeRA: <c>y += b (B[:out] (d (A[:, :in] x)))</c>; A and B are random, frozen and shared, the vectors b and d are trained.</summary>
internal sealed class VeraMethod : ModuleMethod
{
    private readonly TensorView _sharedA;
    private readonly TensorView _sharedB;
    private readonly Parameter _output;
    private readonly Parameter _rank;
    private readonly float _dropout;

    /// <param name="sharedA">This module's part of A, <c>[R, in]</c>.</param>
    /// <param name="sharedB">This module's part of B, <c>[out, R]</c>.</param>
    /// <param name="output">b, one row.</param>
    /// <param name="rank">d, one row.</param>
    /// <param name="dropout">Share of the branch's input that is dropped in training.</param>
    public VeraMethod(TensorView sharedA, TensorView sharedB, Parameter output, Parameter rank, float dropout)
    {
        _dropout = dropout;
        _sharedA = sharedA;
        _sharedB = sharedB;
        _output = output;
        _rank = rank;
    }

    public override IReadOnlyList<Parameter> Parameters => [_output, _rank];

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        AdapterInput input = AdapterInput.Of(tape, x, _dropout);
        TensorView inner = tape.Take(x.Rows, _sharedA.Rows);
        TensorView scaled = tape.Take(x.Rows, _sharedA.Rows);
        TensorView outer = tape.Take(x.Rows, y.Columns);
        operations.MultiplyTransposed(1f, input.View, _sharedA, inner, add: false);
        operations.ScaleColumns(inner, _rank.Value, scaled, add: false);
        operations.MultiplyTransposed(1f, scaled, _sharedB, outer, add: false);
        operations.ScaleColumns(outer, _output.Value, y, add: true);
        tape.Changed(y);
        if (tape.IsRecording)
        {
            tape.Record(() =>
            {
                TensorView dy = tape.GradientOf(y);
                TensorView dscaled = tape.Take(inner.Rows, inner.Columns);
                operations.AddColumnSums(dy, outer, _output.Gradient);

                // The forward's output of B is no longer needed: its room takes b dy.
                operations.ScaleColumns(dy, _output.Value, outer, add: false);
                operations.Multiply(1f, outer, _sharedB, dscaled, add: false);
                operations.AddColumnSums(dscaled, inner, _rank.Gradient);
                operations.ScaleColumns(dscaled, _rank.Value, dscaled, add: false);
                input.Backward(tape, dscaled, _sharedA);
            });
        }
    }
}
