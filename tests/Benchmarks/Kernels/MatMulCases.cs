using InferenceServer.TestKit.ReferenceMaths;
using InferenceServer.Tensors;

namespace InferenceServer.Benchmarks.Kernels;

/// <summary>Matrix products of 4096 x 4096 weights, rotating over more of them than any cache holds.</summary>
internal sealed class MatMulCases : IDisposable
{
    private const int Size = 4096;
    private const int MaxRows = 256;

    private readonly WeightMatrix[] _bf16;
    private readonly WeightMatrix[] _f32;
    private readonly DeviceBuffer _x;
    private readonly DeviceBuffer _y;

    public MatMulCases(IComputeBackend backend)
    {
        HostTensor weight = HostTensor.Random(Size, Size, 1);
        _bf16 = [.. Enumerable.Range(0, 8).Select(_ => Create(WeightFormat.BF16))];
        _f32 = [.. Enumerable.Range(0, 4).Select(_ => Create(WeightFormat.F32))];
        _x = backend.Allocate(MaxRows * Size * sizeof(float), "x");
        _y = backend.Allocate(MaxRows * Size * sizeof(float), "y");
        backend.Write(HostTensor.Random(MaxRows, Size, 2).Values, _x);
        foreach (int rows in new[] { 1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 256 })
        {
            Measurements.Add(Case("bf16", _bf16, rows));
        }

        foreach (int rows in new[] { 1, 8, 64 })
        {
            Measurements.Add(Case("f32", _f32, rows));
        }

        WeightMatrix Create(WeightFormat format) => backend.CreateMatrix(
            Size, Size, format, "weight", (first, target) => weight.Values.AsSpan(first * Size, target.Length).CopyTo(target));

        Measurement Case(string name, WeightMatrix[] matrices, int rows)
        {
            TensorView x = new(_x, rows, Size);
            TensorView y = new(_y, rows, Size);
            return new Measurement(
                $"matmul {name} M={rows}",
                matrices[0].ByteCount,
                2.0 * rows * Size * Size,
                number => backend.MatMul(x, matrices[number % matrices.Length], y));
        }
    }

    public List<Measurement> Measurements { get; } = [];

    public void Dispose()
    {
        foreach (WeightMatrix matrix in _bf16.Concat(_f32))
        {
            matrix.Dispose();
        }

        _x.Dispose();
        _y.Dispose();
    }
}
