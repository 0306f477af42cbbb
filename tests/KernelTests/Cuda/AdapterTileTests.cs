using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Rows of large groups, whose adapters are applied in tiles on tensor cores.</summary>
[Collection(StandInCollection.Name)]
public sealed class AdapterTileTests : IDisposable
{
    private readonly CudaBackend _backend = CudaTestBackend.Create(CudaProducts.Auto);

    public void Dispose() => _backend.Dispose();

    [StandInTheory]
    [InlineData(75, 0)]
    [InlineData(64, 0)]
    [InlineData(130, 1)]
    public void Tiles_of_any_rank_and_stack_are_the_reference(int inputs, int extraColumn)
    {
        int[] outputs = [133, 5, 64];
        LowRankDelta[] first = [Delta(16, inputs, 133, 1, true), Delta(1, inputs, 5, 2, false), Delta(40, inputs, 64, 3, false)];
        LowRankDelta?[] second = [Delta(67, inputs, 133, 4, false), null, Delta(9, inputs, 64, 5, true)];
        LowRankDelta?[] third = [null, new LowRankDelta { OutputScale = HostTensor.Random(1, 5, 6).Values }, null];
        using DeviceAdapter a = Create(first);
        using DeviceAdapter b = Create(second);
        using DeviceAdapter c = Create(third);
        HostTensor x = HostTensor.Random(90, inputs, 10);
        HostTensor y = HostTensor.Random(90, 202 + extraColumn, 11);
        LoraBatch batch = new();
        AddGroup(batch, 1, 16, (a, 1f));
        AddGroup(batch, 17, 3, (b, 1f));
        AddGroup(batch, 20, 37, (b, -0.5f), (c, 0.25f), (a, 0.75f));
        AddGroup(batch, 60, 30, (c, 1f));
        ModuleColumns[] modules = [new(0, 0, 133), new(1, 133, 5), new(2, 138 + extraColumn, 64)];
        double[] expected = [.. y.Values.Select(value => (double)value)];
        for (int row = 0; row < 90; row++)
        {
            (LowRankDelta?[], float)[] stack = row switch
            {
                >= 1 and < 17 => [(first, 1f)],
                >= 17 and < 20 => [(second, 1f)],
                >= 20 and < 57 => [(second, -0.5f), (third, 0.25f), (first, 0.75f)],
                >= 60 => [(third, 1f)],
                _ => [],
            };
            for (int module = 0; module < 3; module++)
            {
                (LowRankDelta, float)[] parts =
                    [.. stack.Where(entry => entry.Item1[module] is not null).Select(entry => (AdapterReference.Rounded(entry.Item1[module]!), entry.Item2))];
                int column = (row * y.Columns) + modules[module].FirstColumn;
                AdapterReference.Apply(x.Row(row), y.Values.AsSpan(column, outputs[module]), parts).CopyTo(expected, column);
            }
        }

        StandIn.ResetCounters();
        float[] actual = Schedules.SameBitsUnderAll(() => Apply(batch, modules, x, y));

        Closeness.AssertClose(expected, actual, 5e-7, "tiles");
        Assert.Equal(5, StandIn.KernelRuns["adapter_shrink_tiles"]);
        Assert.Equal(5, StandIn.KernelRuns["adapter_expand_tiles"]);
        Assert.Equal(5, StandIn.KernelRuns["adapter_expand"]);
    }

    [StandInFact]
    public void A_tile_that_leaves_a_module_alone_keeps_its_bits()
    {
        using DeviceAdapter adapter = Create([Delta(8, 32, 40, 1, false), new LowRankDelta { InputScale = HostTensor.Random(1, 32, 2).Values }]);
        HostTensor y = HostTensor.Random(16, 80, 11);
        y.Values[45] = -0f;
        LoraBatch batch = new();
        AddGroup(batch, 0, 16, (adapter, 1f));

        float[] actual = Apply(batch, [new ModuleColumns(0, 0, 40), new ModuleColumns(1, 40, 40)], HostTensor.Random(16, 32, 10), y);

        for (int row = 0; row < 16; row++)
        {
            Closeness.AssertSameBits(y.Row(row)[40..], actual.AsSpan((row * 80) + 40, 40), "the other module");
            Assert.NotEqual(y.Row(row)[..40].ToArray(), actual[(row * 80)..((row * 80) + 40)]);
        }
    }

    [StandInFact]
    public void Gates_and_f32_adapters_are_applied_row_by_row()
    {
        LowRankDelta plain = Delta(8, 32, 40, 1, false);
        LowRankDelta gated = plain with { Gate = new RankGate { BlockRanks = [3, 5], Weight = Matrix(2, 32, 7), TopK = 2 } };
        using DeviceAdapter wide = _backend.CreateAdapter(new AdapterWeights("wide@0", [plain]), WeightFormat.F32);
        using DeviceAdapter routed = Create([gated]);
        foreach (DeviceAdapter adapter in new[] { wide, routed })
        {
            LoraBatch batch = new();
            AddGroup(batch, 0, 20, (adapter, 1f));
            StandIn.ResetCounters();

            _ = Apply(batch, [new ModuleColumns(0, 0, 40)], HostTensor.Random(20, 32, 10), HostTensor.Random(20, 40, 11));

            Assert.False(StandIn.KernelRuns.ContainsKey("adapter_expand_tiles"));
            Assert.Equal(1, StandIn.KernelRuns["adapter_expand"]);
        }
    }

    [StandInFact]
    public void A_steps_four_batches_are_found_and_have_the_bits_of_any_other_batch()
    {
        DeviceAdapter[] adapters = [.. Enumerable.Range(0, 4).Select(i => Create([Delta(3 + i, 32, 40, i, i % 2 == 0)]))];
        HostTensor x = HostTensor.Random(20, 32, 10);
        HostTensor y = HostTensor.Random(20, 40, 11);
        StepInputs step = new(20, 2);
        step.AddSequence(new int[19], 0, [0, 1]);
        step.AddSequence([5], 3, [2]);
        for (int row = 0; row < 20; row++)
        {
            step.AddSampledRow(row);
        }

        LoraBatch[] own = [step.Lora, step.SampledLora, step.Restore, step.SampledRestore];
        LoraBatch[] others = [new(), new(), new(), new()];
        foreach (LoraBatch[] batches in new[] { own, others })
        {
            for (int i = 0; i < 4; i++)
            {
                AddGroup(batches[i], 0, 15 + i, (adapters[i], 1f));
                AddGroup(batches[i], 19, 1, (adapters[3 - i], -1f), (adapters[i], 0.5f));
            }
        }

        _backend.BeginStep(step);
        for (int i = 0; i < 4; i++)
        {
            StandIn.ResetCounters();
            float[] found = Apply(own[i], [new ModuleColumns(0, 0, 40)], x, y);
            Assert.Equal(i > 0, StandIn.KernelRuns.ContainsKey("adapter_expand_tiles"));

            Closeness.AssertSameBits(Apply(others[i], [new ModuleColumns(0, 0, 40)], x, y), found, $"batch {i}");
            Assert.NotEqual(y.Values, found);
        }

        Array.ForEach(adapters, adapter => adapter.Dispose());
    }

    private static HostMatrix Matrix(int rows, int columns, int seed) => new(rows, columns, HostTensor.Random(rows, columns, seed).Values);

    private static LowRankDelta Delta(int rank, int inputs, int outputs, int seed, bool scaled) => new()
    {
        A = Matrix(rank, inputs, 100 + seed),
        B = Matrix(outputs, rank, 200 + seed),
        OutputScale = scaled ? HostTensor.Random(1, outputs, 300 + seed).Values : null,
        OutputBias = scaled ? null : HostTensor.Random(1, outputs, 400 + seed).Values,
    };

    private static void AddGroup(LoraBatch batch, int firstRow, int rows, params (DeviceAdapter Adapter, float Weight)[] entries)
    {
        batch.BeginGroup(firstRow, rows);
        foreach ((DeviceAdapter adapter, float weight) in entries)
        {
            batch.AddEntry(adapter, weight);
        }
    }

    private DeviceAdapter Create(LowRankDelta?[] deltas) => _backend.CreateAdapter(new AdapterWeights("tile@0", deltas), WeightFormat.BF16);

    private float[] Apply(LoraBatch batch, ModuleColumns[] modules, HostTensor x, HostTensor y)
    {
        using GuardedTensor input = new(_backend, x);
        using GuardedTensor output = new(_backend, y);
        _backend.ApplyAdapters(batch, modules, input.View, output.View);
        return output.Read();
    }
}
