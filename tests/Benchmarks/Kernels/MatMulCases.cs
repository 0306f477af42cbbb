using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;

namespace InferenceServer.Benchmarks.Kernels;

/// <summary>Matrix products of 4096 x 4096 weights, rotating over more of them than any cache holds.</summary>
internal sealed class MatMulCases : IDisposable
{
    private const int Size = 4096;
    private const int NarrowSize = 512;
    private const int MaxRows = 256;

    private readonly WeightMatrix[] _bf16;
    private readonly WeightMatrix[] _f32;
    private readonly WeightMatrix[] _narrow;
    private readonly DeviceBuffer _x;
    private readonly DeviceBuffer _y;

    // One count for all cases: if each had its own, one would find in the cache what the one before it read.
    private int _next;

    public MatMulCases(IComputeBackend backend)
    {
        HostTensor weight = HostTensor.Random(Size, Size, 1);
        _bf16 = [.. Enumerable.Range(0, 8).Select(_ => Create(WeightFormat.BF16, Size))];
        _f32 = [.. Enumerable.Range(0, 4).Select(_ => Create(WeightFormat.F32, Size))];
        _narrow = [.. Enumerable.Range(0, 32).Select(_ => Create(WeightFormat.BF16, NarrowSize))];
        _x = backend.Allocate(MaxRows * Size * sizeof(float), "x");
        _y = backend.Allocate(MaxRows * Size * sizeof(float), "y");
        backend.Write(HostTensor.Random(MaxRows, Size, 2).Values, _x);
        foreach (int rows in new[] { 1, 2, 3, 4, 6, 8, 12, 16, 32 })
        {
            Measurements.Add(Case("bf16", _bf16, rows));
        }

        // A slice of many rows would outlast the scheduler's patience on a busy machine: fewer outputs.
        foreach (int rows in new[] { 32, 64, 256 })
        {
            Measurements.Add(Case("bf16 to 512", _narrow, rows));
        }

        foreach (int rows in new[] { 1, 8 })
        {
            Measurements.Add(Case("f32", _f32, rows));
        }

        WeightMatrix Create(WeightFormat format, int outputs) => backend.CreateMatrix(
            outputs, Size, format, "weight", (first, target) => weight.Values.AsSpan(first * Size, target.Length).CopyTo(target));

        Measurement Case(string name, WeightMatrix[] matrices, int rows)
        {
            TensorView x = new(_x, rows, Size);
            TensorView y = new(_y, rows, matrices[0].Rows);
            return new Measurement(
                $"matmul {name} M={rows}",
                matrices[0].ByteCount,
                2.0 * rows * Size * matrices[0].Rows,
                _ => backend.MatMul(x, matrices[_next++ % matrices.Length], y));
        }
    }

    public List<Measurement> Measurements { get; } = [];

    public void Dispose()
    {
        foreach (WeightMatrix matrix in _bf16.Concat(_f32).Concat(_narrow))
        {
            matrix.Dispose();
        }

        _x.Dispose();
        _y.Dispose();
    }
}
