using InferenceServer.Cpu;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

/// <summary>A warm operation allocates nothing on the managed heap, on any thread.</summary>
[Collection(SerialTests.Name)]
public sealed class AllocationTests
{
    private const int Rows = 24;
    private const int Hidden = 256;

    [Fact]
    public void No_operation_of_a_warm_step_allocates()
    {
        using CpuBackend backend = new(new CpuOptions { ThreadCount = 2 });
        using WeightMatrix square = Matrix(backend, Hidden, Hidden);
        using WeightMatrix wide = Matrix(backend, 2 * Hidden, Hidden);
        using WeightMatrix int8 = Matrix(backend, Hidden, Hidden, WeightFormat.Int8);
        using WeightMatrix nf4 = Matrix(backend, Hidden, Hidden, WeightFormat.NF4);
        using DeviceBuffer vector = backend.Allocate(Hidden * sizeof(float), "vector");
        using DeviceBuffer angles = backend.Allocate(4096 * 32 * sizeof(float), "angles");
        using DeviceBuffer buffer = backend.Allocate(4L * Rows * Hidden * sizeof(float), "activations");
        using KvCache cache = backend.CreateKvCache(new KvCacheShape(1, 96, 16, 2, 64));
        using DeviceAdapter adapter = Adapter(backend);
        TensorView x = new(buffer, Rows, Hidden);
        TensorView y = new(buffer, Rows * Hidden, Rows, Hidden, Hidden);
        TensorView xWide = new(buffer, 2 * Rows * Hidden, Rows, 2 * Hidden, 2 * Hidden);
        TensorView keys = x.SliceColumns(0, 128);
        RopeTable rope = new(angles, angles, 64, 4096);
        AttentionParameters attention = new(4, 2, 64, 0.125f, 0, 0);
        StepInputs prefill = Step(adapter, firstPosition: 0, tokens: Rows);
        StepInputs decode = Step(adapter, firstPosition: 1500, tokens: 1);
        (string Name, Action Run)[] operations =
        [
            ("BeginStep", () => backend.BeginStep(prefill)),
            ("Embed", () => backend.Embed(wide, x)),
            ("AddPositions", () => backend.AddPositions(wide, x)),
            ("ApplyEmbeddingAdapters", () => backend.ApplyEmbeddingAdapters(1, x)),
            ("Scale", () => backend.Scale(0.5f, x)),
            ("RmsNorm", () => backend.RmsNorm(x, vector, 1, 1e-5f, y)),
            ("LayerNorm", () => backend.LayerNorm(x, vector, vector, 1e-5f, y)),
            ("MatMul", () => backend.MatMul(x, square, y)),
            ("MatMul of one row", () => backend.MatMul(x.SliceRows(0, 1), wide, xWide.SliceRows(0, 1))),
            ("MatMul of int8", () => backend.MatMul(x, int8, y)),
            ("MatMul of nf4", () => backend.MatMul(x, nf4, y)),
            ("MatMul of nf4 and one row", () => backend.MatMul(x.SliceRows(0, 1), nf4, y.SliceRows(0, 1))),
            ("ApplyAdapters", () => backend.ApplyAdapters(prefill.Lora, [new ModuleColumns(0, 0, Hidden)], x, y)),
            ("ApplyAdapters with a gate", () => backend.ApplyAdapters(prefill.Lora, [new ModuleColumns(3, 0, Hidden)], x, y)),
            ("ScaleInputs", () => backend.ScaleInputs(prefill.Lora, 0, x, y)),
            ("ApplyReplacedRows", () => backend.ApplyReplacedRows(prefill.Lora, 2, x, y)),
            ("AddBias", () => backend.AddBias(vector, x)),
            ("Add", () => backend.Add(x, y)),
            ("Rope", () => backend.Rope(rope, 64, x)),
            ("StoreKv", () => backend.StoreKv(keys, keys, cache, 0)),
            ("PagedAttention", () => backend.PagedAttention(x, cache, 0, attention, y)),
            ("GatedActivation", () => backend.GatedActivation(xWide, Activation.Silu, x)),
            ("Activate", () => backend.Activate(Activation.GeluTanh, x)),
            ("GatherSampledRows", () => backend.GatherSampledRows(x, y.SliceRows(0, 1))),
            ("SoftCap", () => backend.SoftCap(30, x)),
            ("BeginStep of a decode", () => backend.BeginStep(decode)),
            ("PagedAttention in splits", () => backend.PagedAttention(x.SliceRows(0, 1), cache, 0, attention, y.SliceRows(0, 1))),
        ];

        long[] least = new long[operations.Length];
        Array.Fill(least, long.MaxValue);
        for (int round = 0; round < 30; round++)
        {
            for (int i = 0; i < operations.Length; i++)
            {
                long before = GC.GetTotalAllocatedBytes(precise: true);
                operations[i].Run();
                least[i] = Math.Min(least[i], GC.GetTotalAllocatedBytes(precise: true) - before);
            }
        }

        // The least of many rounds: the test host's own threads allocate now and then, an operation would every time.
        Assert.All(operations.Zip(least), pair => Assert.True(pair.Second == 0, $"{pair.First.Name} allocates {pair.Second} bytes"));
    }

    private static WeightMatrix Matrix(CpuBackend backend, int rows, int columns, WeightFormat format = WeightFormat.BF16)
    {
        HostTensor weight = HostTensor.Random(rows, columns, 1, 0.1f);
        return backend.CreateMatrix(
            rows, columns, format, "weight", (first, target) => weight.Values.AsSpan(first * columns, target.Length).CopyTo(target));
    }

    private static DeviceAdapter Adapter(CpuBackend backend)
    {
        HostMatrix a = new(8, Hidden, HostTensor.Random(8, Hidden, 1).Values);
        HostMatrix b = new(Hidden, 8, HostTensor.Random(Hidden, 8, 2).Values);
        float[] scale = HostTensor.Random(1, Hidden, 3).Values;
        HostMatrix row = new(1, Hidden, HostTensor.Random(1, Hidden, 4).Values);
        AdapterWeights weights = new(
            "test@0",
            [
                new LowRankDelta { A = a, B = b, OutputScale = scale, InputScale = scale, OutputBias = scale },
                new LowRankDelta { A = a, B = b },
                new LowRankDelta { ReplacedRows = new ReplacedRows([5], row) },
                new LowRankDelta
                {
                    A = a,
                    B = b,
                    Gate = new RankGate { BlockRanks = [1, 7], Weight = new HostMatrix(2, Hidden, HostTensor.Random(2, Hidden, 5).Values), TopK = 2 },
                },
            ]);
        return backend.CreateAdapter(weights, WeightFormat.BF16);
    }

    private static StepInputs Step(DeviceAdapter adapter, int firstPosition, int tokens)
    {
        StepInputs step = new(Rows, 2);
        step.AddSequence(new int[tokens], firstPosition, [.. Enumerable.Range(0, 96)]);
        step.AddSampledRow(tokens - 1);
        step.Lora.BeginGroup(0, tokens);
        step.Lora.AddEntry(adapter, 1);
        return step;
    }
}
