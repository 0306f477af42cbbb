using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;

namespace InferenceServer.Benchmarks.Kernels;

/// <summary>Low-rank adapters of rank 16 on a 4096 x 4096 layer: every row its own adapter, or all rows the same.</summary>
internal sealed class AdapterCases : IDisposable
{
    private const int Size = 4096;
    private const int Rank = 16;
    private const int MaxRows = 256;

    // 512 of 256 KB each: more than any cache holds.
    private readonly DeviceAdapter[] _adapters;
    private readonly DeviceBuffer _x;
    private readonly DeviceBuffer _y;
    private int _next;

    public AdapterCases(IComputeBackend backend)
    {
        HostMatrix a = new(Rank, Size, HostTensor.Random(Rank, Size, 1).Values);
        HostMatrix b = new(Size, Rank, HostTensor.Random(Size, Rank, 2).Values);
        AdapterWeights weights = new("bench@0", [new LowRankDelta { A = a, B = b }]);
        _adapters = [.. Enumerable.Range(0, 512).Select(_ => backend.CreateAdapter(weights, WeightFormat.BF16))];
        _x = backend.Allocate(MaxRows * Size * sizeof(float), "x");
        _y = backend.Allocate(MaxRows * Size * sizeof(float), "y");
        backend.Write(HostTensor.Random(MaxRows, Size, 3).Values, _x);
        foreach (int rows in new[] { 1, 8, 32 })
        {
            Measurements.Add(Case($"adapters bf16 r=16, {rows} rows, all distinct", rows, groups: rows));
        }

        foreach (int rows in new[] { 8, 64, 256 })
        {
            Measurements.Add(Case($"adapters bf16 r=16, {rows} rows, one adapter", rows, groups: 1));
        }

        Measurement Case(string name, int rows, int groups)
        {
            TensorView x = new(_x, rows, Size);
            TensorView y = new(_y, rows, Size);
            LoraBatch batch = new();
            return new Measurement(name, (double)groups * _adapters[0].ByteCount, 4.0 * rows * Rank * Size, _ =>
            {
                batch.Clear();
                for (int group = 0; group < groups; group++)
                {
                    batch.BeginGroup(group * (rows / groups), rows / groups);
                    batch.AddEntry(_adapters[_next++ % _adapters.Length], 1);
                }

                backend.ApplyAdapters(batch, [new ModuleColumns(0, 0, Size)], x, y);
            });
        }
    }

    public List<Measurement> Measurements { get; } = [];

    public void Dispose()
    {
        foreach (DeviceAdapter adapter in _adapters)
        {
            adapter.Dispose();
        }

        _x.Dispose();
        _y.Dispose();
    }
}
