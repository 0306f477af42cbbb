using InferenceServer.Tensors;
using InferenceServer.Training.Tape;

namespace InferenceServer.Training.Methods;

/// <summary>
/// DoRA: <c>y = g (W x + s B A x)</c> with <c>g = m / n</c>, <c>n = |W + s B A|</c> by output row. As in PEFT (and the paper's section
/// 4.3) n is a constant in the backward pass: <c>dm = sum of dy (W x + s B A x) / n</c>, and all else sees <c>g dy</c>.
/// </summary>
internal sealed class DoraMethod : ModuleMethod
{
    private readonly IComputeBackend _backend;
    private readonly LoraMethod _lora;
    private readonly Parameter _magnitude;
    private readonly WeightMatrix _weight;
    private readonly int _firstRow;
    private readonly float _scale;
    private readonly DeviceBuffer _factors;
    private readonly DeviceBuffer _inverseNorms;

    /// <param name="backend">Where it lives.</param>
    /// <param name="a"><c>[R, in]</c>.</param>
    /// <param name="b"><c>[out, R]</c>.</param>
    /// <param name="magnitude">m, one row.</param>
    /// <param name="weight">The base's matrix that holds the module.</param>
    /// <param name="firstRow">The module's first row in it.</param>
    /// <param name="scale">s.</param>
    public DoraMethod(
        IComputeBackend backend, Parameter a, Parameter b, Parameter magnitude, WeightMatrix weight, int firstRow, float scale)
    {
        _backend = backend;
        _lora = new LoraMethod(a, b, scale);
        _magnitude = magnitude;
        _weight = weight;
        _firstRow = firstRow;
        _scale = scale;
        _factors = backend.Allocate(magnitude.Count * sizeof(float), "dora scales");
        _inverseNorms = backend.Allocate(magnitude.Count * sizeof(float), "dora inverse norms");
    }

    public override IReadOnlyList<Parameter> Parameters => [.. _lora.Parameters, _magnitude];

    public override void Apply(GradientTape tape, TensorView x, TensorView y)
    {
        ITrainingBackend operations = tape.Operations;
        FindFactors(operations, tape.Take(1, y.Columns));
        TensorView factors = new(_factors, 1, y.Columns);
        _lora.Apply(tape, x, y);
        TensorView directed = tape.IsRecording ? tape.Keep(y) : y;
        operations.ScaleColumns(y, factors, y, add: false);
        tape.Changed(y);
        if (tape.IsRecording)
        {
            tape.Record(() =>
            {
                TensorView dy = tape.GradientOf(y);
                TensorView sums = tape.Take(1, y.Columns);
                operations.Clear(sums);
                operations.AddColumnSums(dy, directed, sums);
                operations.ScaleColumns(sums, new TensorView(_inverseNorms, 1, y.Columns), _magnitude.Gradient, add: true);
                operations.ScaleColumns(dy, factors, dy, add: false);
            });
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        _factors.Dispose();
        _inverseNorms.Dispose();
    }

    private void FindFactors(ITrainingBackend operations, TensorView norms)
    {
        operations.AdaptedRowNorms(_weight, _firstRow, _lora.A.Value, _lora.B.Value, _scale, norms);
        float[] inverse = new float[norms.Columns];
        float[] factors = new float[norms.Columns];
        _backend.Read(norms, inverse);
        _backend.Read(_magnitude.Value, factors);
        for (int i = 0; i < inverse.Length; i++)
        {
            inverse[i] = 1 / inverse[i];
            factors[i] *= inverse[i];
        }

        _backend.Write(inverse, _inverseNorms);
        _backend.Write(factors, _factors);
    }
}
