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
    private readonly WeightMatrix[] _int8;
    private readonly WeightMatrix[] _nf4;
    private readonly WeightMatrix[] _narrowInt8;
    private readonly WeightMatrix[] _narrowNf4;
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
        _int8 = [.. Enumerable.Range(0, 12).Select(_ => Create(WeightFormat.Int8, Size))];
        _nf4 = [.. Enumerable.Range(0, 24).Select(_ => Create(WeightFormat.NF4, Size))];
        _narrowInt8 = [.. Enumerable.Range(0, 8).Select(_ => Create(WeightFormat.Int8, NarrowSize))];
        _narrowNf4 = [.. Enumerable.Range(0, 8).Select(_ => Create(WeightFormat.NF4, NarrowSize))];
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

        foreach (int rows in new[] { 1, 2, 4, 8, 16 })
        {
            Measurements.Add(Case("int8", _int8, rows));
            Measurements.Add(Case("nf4", _nf4, rows));
        }

        Measurements.Add(Case("int8 to 512", _narrowInt8, MaxRows));
        Measurements.Add(Case("nf4 to 512", _narrowNf4, MaxRows));

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
        foreach (WeightMatrix matrix in new[] { _bf16, _f32, _narrow, _int8, _nf4, _narrowInt8, _narrowNf4 }.SelectMany(matrices => matrices))
        {
            matrix.Dispose();
        }

        _x.Dispose();
        _y.Dispose();
    }
}
