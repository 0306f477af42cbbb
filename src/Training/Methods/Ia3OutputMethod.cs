using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>IA3 on an attention module: <c>l (W x + b)</c>. The forward adds b afterwards, so this leaves <c>l (W x + b) - b</c>.</summary>
internal sealed class Ia3OutputMethod : ModuleMethod
{
    private readonly IComputeBackend _backend;
    private readonly Parameter _factors;
    private readonly DeviceBuffer? _bias;
    private readonly DeviceBuffer? _negativeBias;

    /// <param name="backend">Where it lives.</param>
    /// <param name="factors">l, one row.</param>
    /// <param name="bias">The module's own bias, or null.</param>
    public Ia3OutputMethod(IComputeBackend backend, Parameter factors, float[]? bias)
    {
        _backend = backend;
        _factors = factors;
        if (bias is not null)
        {
            _bias = backend.Allocate(bias.Length * sizeof(float), "bias");
            _negativeBias = backend.Allocate(bias.Length * sizeof(float), "negative bias");
            backend.Write(bias, _bias);
            backend.Write([.. bias.Select(value => -value)], _negativeBias);
        }
    }

    public override IReadOnlyList<Parameter> Parameters => [_factors];

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        if (_bias is not null)
        {
            _backend.AddBias(_bias, y);
            tape.Changed(y);
        }

        TensorView kept = tape.IsRecording ? tape.Keep(y) : y;
        operations.ScaleColumns(y, _factors.Value, y, add: false);
        if (_negativeBias is not null)
        {
            _backend.AddBias(_negativeBias, y);
        }

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

    public override void Dispose()
    {
        base.Dispose();
        _bias?.Dispose();
        _negativeBias?.Dispose();
    }
}
