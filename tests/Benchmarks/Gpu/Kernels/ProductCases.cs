using System.Globalization;
using InferenceServer.Benchmarks.Gpu.Models;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Benchmarks.Gpu.Kernels;

/// <summary>The products of a layer and of the head: decoding rows, and prefills. Several copies of a small matrix take turns.</summary>
internal sealed class ProductCases : IDisposable
{
    private const long BeyondCaches = 256L << 20;

    private static readonly int[] s_decodes = [1, 2, 4, 8, 16, 32, 64];
    private static readonly int[] s_prefills = [512, 2048];

    private readonly IComputeBackend _backend;
    private readonly DeviceBuffer _x;
    private readonly DeviceBuffer _y;

    public ProductCases(IComputeBackend backend, ModelDimensions shape)
    {
        _backend = backend;
        int rows = s_prefills.Max();
        _x = backend.Allocate((long)rows * Math.Max(shape.Hidden, shape.Intermediate) * sizeof(float), "x");
        _y = backend.Allocate(Math.Max((long)rows * 2 * shape.Intermediate, (long)s_decodes.Max() * shape.Vocabulary) * sizeof(float), "y");
        RandomFill.Write(backend, _x);
        Cases = Of(shape);
    }

    public IEnumerable<KernelCase> Cases { get; }

    public void Dispose()
    {
        _x.Dispose();
        _y.Dispose();
    }

    /// <summary>Made one matrix after the other, so that only one lies on the device at a time.</summary>
    private IEnumerable<KernelCase> Of(ModelDimensions shape)
    {
        int keyValues = 2 * shape.KvHeads * shape.HeadSize;
        (string Name, int Out, int In, WeightFormat Format)[] matrices =
        [
            ("query, key, value", shape.Hidden + keyValues, shape.Hidden, WeightFormat.BF16),
            ("attention output", shape.Hidden, shape.Hidden, WeightFormat.BF16),
            ("gate and up", 2 * shape.Intermediate, shape.Hidden, WeightFormat.BF16),
            ("down", shape.Hidden, shape.Intermediate, WeightFormat.BF16),
            ("head", shape.Vocabulary, shape.Hidden, WeightFormat.BF16),
            ("gate and up, int8", 2 * shape.Intermediate, shape.Hidden, WeightFormat.Int8),
            ("gate and up, nf4", 2 * shape.Intermediate, shape.Hidden, WeightFormat.NF4),
        ];
        foreach ((string name, int outputs, int inputs, WeightFormat format) in matrices)
        {
            int copies = (int)Math.Clamp(BeyondCaches / (2L * outputs * inputs), 1, 6);
            WeightMatrix[] weights = [.. Enumerable.Range(0, copies).Select(_ => _backend.CreateMatrix(outputs, inputs, format, name, RandomFill.Rows(inputs)))];
            try
            {
                foreach (int rows in name == "head" ? s_decodes : [.. s_decodes, .. s_prefills])
                {
                    yield return Case(name, weights, outputs, inputs, rows);
                }
            }
            finally
            {
                Array.ForEach(weights, weight => weight.Dispose());
            }
        }
    }

    private KernelCase Case(string name, WeightMatrix[] weights, int outputs, int inputs, int rows)
    {
        TensorView x = new(_x, rows, inputs), y = new(_y, rows, outputs);
        StepInputs step = KernelStage.Step(rows, rows > s_decodes.Max() ? 1 : rows, context: rows > s_decodes.Max() ? rows : 1, _ => [.. Enumerable.Range(0, (rows + 15) / 16)]);
        return new KernelCase(
            string.Create(CultureInfo.InvariantCulture, $"{name}, {rows} row{(rows == 1 ? "" : "s")}"),
            weights[0].ByteCount + (4.0 * rows * (inputs + outputs)),
            2.0 * rows * inputs * outputs,
            step,
            number => _backend.MatMul(x, weights[number % weights.Length], y));
    }
}
