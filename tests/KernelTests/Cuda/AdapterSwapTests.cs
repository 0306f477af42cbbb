using InferenceServer.Cuda;
using InferenceServer.Cuda.Adapters;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Adapters come and go between steps of one graph.</summary>
[Collection(StandInCollection.Name)]
public sealed class AdapterSwapTests : IDisposable
{
    private const int Inputs = 48;
    private const int MaxRows = 8;
    private static readonly int[] s_outputs = [40, 12, 20];
    private static readonly ModuleColumns[] s_modules = [new(0, 0, 40), new(1, 40, 12), new(2, 52, 20)];
    private static readonly HostTensor s_x = HostTensor.Random(MaxRows, Inputs, 1);
    private static readonly HostTensor s_y = HostTensor.Random(MaxRows, 72, 2);

    private readonly CudaBackend _backend = CudaTestBackend.Create();
    private readonly DeviceBuffer _x;
    private readonly DeviceBuffer _y;
    private readonly StepInputs _step = new(MaxRows, MaxRows);

    public AdapterSwapTests()
    {
        _x = _backend.Allocate(MaxRows * Inputs * sizeof(float), "x");
        _y = _backend.Allocate(MaxRows * 72 * sizeof(float), "y");
        _backend.Write(s_x.Values, _x);
    }

    private int Captures => _backend.Context.Queue.Graphs.CaptureCount;

    public void Dispose()
    {
        StandIn.Reset();
        _x.Dispose();
        _y.Dispose();
        _backend.Dispose();
    }

    [StandInFact]
    public void One_graph_serves_any_adapters_groups_stacks_and_ranks()
    {
        Loaded[] loaded = [Load(1, 4), Load(2, 16), Load(3, 1), Load(4, 21)];
        Loaded[][][] steps =
        [
            [[loaded[0]], [loaded[0]], [loaded[0]], [loaded[0]], [loaded[0]]],
            [[loaded[0]], [loaded[0]], [loaded[0]], [loaded[0]], [loaded[0]]],
            [[loaded[0]], [loaded[1]], [loaded[2]], [loaded[3]], [loaded[0]], [loaded[1]], [loaded[2]], [loaded[3]]],
            [[], [loaded[1]], [], [loaded[3]], [loaded[3]], []],
            [[loaded[1]], [], [loaded[0], loaded[3]], [loaded[2]], [], [loaded[1]], []],
        ];
        for (int i = 0; i < steps.Length; i++)
        {
            Run(steps[i]);
        }

        Assert.Equal(1, Captures);
        Assert.Equal(steps.Length - 1, _backend.Context.Queue.Graphs.LaunchCount);
        Array.ForEach(loaded, one => one.Adapter.Dispose());
    }

    [StandInFact]
    public void An_adapter_that_takes_anothers_place_needs_no_capture()
    {
        Loaded first = Load(1, 8);
        Run([first], [first], [first]);
        Run([first], [first], [first]);
        Assert.Equal(1, Captures);
        ulong place = CudaAdapter.Of(first.Adapter).Records;
        first.Adapter.Dispose();

        Loaded second = Load(2, 8);
        Assert.Equal(place, CudaAdapter.Of(second.Adapter).Records);
        Run([second], [second], [second]);
        Loaded third = Load(3, 8);
        Run([second], [third], [second]);
        second.Adapter.Dispose();
        Run([third], [third], [third]);
        third.Adapter.Dispose();

        Assert.Equal(1, Captures);
        Assert.Equal(4, _backend.Context.Queue.Graphs.LaunchCount);
    }

    [StandInFact]
    public void Loads_and_unloads_beside_steps_take_no_memory_from_the_device_and_give_none_back()
    {
        Loaded served = Load(1, 8);
        Load(2, 16).Adapter.Dispose();
        Run([served], [served]);
        Run([served], [served]);
        StandIn.ResetCounters();

        for (int i = 0; i < 10; i++)
        {
            Loaded passing = Load(10 + i, 1 + i);
            Run([served], [passing]);
            passing.Adapter.Dispose();
        }

        Assert.Equal(0, StandIn.Counters.Allocations);
        Assert.Equal(0, StandIn.Counters.Frees);
        served.Adapter.Dispose();
        Assert.Equal(0, _backend.Context.Machine.Adapters.Pages.UsedBytes);
    }

    [StandInFact]
    public void An_adapter_is_whole_when_its_load_returns_whenever_streams_do_their_work()
    {
        foreach (StreamOrder order in Enum.GetValues<StreamOrder>())
        {
            StandIn.SetOrder(order, seed: 3);
            Loaded[] loaded = [Load(1, 4), Load(2, 16)];
            Run([loaded[0]], [loaded[1]], [loaded[0]]);
            loaded[0].Adapter.Dispose();
            Loaded other = Load(3, 9);
            Run([other], [loaded[1]], [other, loaded[1]]);
            loaded[1].Adapter.Dispose();
            other.Adapter.Dispose();
        }
    }

    [StandInFact]
    public void An_adapter_of_a_step_that_nobody_read_stays_until_nothing_is_under_way()
    {
        Loaded first = Load(1, 8);
        ulong place = CudaAdapter.Of(first.Adapter).Records;
        using DeviceBuffer unread = _backend.Allocate(2 * 72 * sizeof(float), "y of nobody");
        Begin([[first], [first]]);
        _backend.ApplyAdapters(_step.Lora, s_modules, new TensorView(_x, 2, Inputs), new TensorView(unread, 2, 72));

        // The step goes no further, as after an error: what was gathered of it goes out with the next one.
        first.Adapter.Dispose();
        Loaded second = Load(2, 8);
        Assert.NotEqual(place, CudaAdapter.Of(second.Adapter).Records);
        Run([second], [second]);
        Loaded third = Load(3, 8);

        Assert.Equal(place, CudaAdapter.Of(third.Adapter).Records);
        Run([third], [second]);
        second.Adapter.Dispose();
        third.Adapter.Dispose();
        Assert.Equal(0, _backend.Context.Machine.Adapters.Pages.UsedBytes);
    }

    [StandInFact]
    public void Modules_that_no_adapter_ever_changed_are_not_launched()
    {
        LowRankDelta[] deltas = Deltas(1, 4);
        using DeviceAdapter adapter = _backend.CreateAdapter(new AdapterWeights("first@0", [deltas[0], null, null]), WeightFormat.BF16);
        Loaded loaded = new(adapter, [AdapterReference.Rounded(deltas[0]), null, null]);
        for (int i = 0; i < 3; i++)
        {
            Run([loaded], [loaded]);
        }

        StandIn.ResetCounters();
        Begin([[loaded], [loaded]]);
        _backend.ApplyAdapters(_step.Lora, [s_modules[1], s_modules[2]], new TensorView(_x, 2, Inputs), new TensorView(_y, 2, 72));
        _ = ReadAll();

        Assert.False(StandIn.KernelRuns.ContainsKey("adapter_expand"));
    }

    private static LowRankDelta[] Deltas(int seed, int rank) =>
    [
        .. s_outputs.Select((outputs, module) => new LowRankDelta
        {
            A = new HostMatrix(rank, Inputs, HostTensor.Random(rank, Inputs, (10 * seed) + module).Values),
            B = new HostMatrix(outputs, rank, HostTensor.Random(outputs, rank, (10 * seed) + module + 3).Values),
        }),
    ];

    private Loaded Load(int seed, int rank)
    {
        LowRankDelta?[] deltas = Deltas(seed, rank);
        DeviceAdapter adapter = _backend.CreateAdapter(new AdapterWeights($"swap-{seed}@0", deltas), WeightFormat.BF16);
        return new Loaded(adapter, [.. deltas.Select(delta => AdapterReference.Rounded(delta!))]);
    }

    private void Begin(Loaded[][] rows)
    {
        _step.Clear();
        for (int row = 0; row < rows.Length; row++)
        {
            _step.AddSequence([1], row, [row]);
            if (rows[row].Length == 0)
            {
                continue;
            }

            _step.Lora.BeginGroup(row, 1);
            for (int i = 0; i < rows[row].Length; i++)
            {
                _step.Lora.AddEntry(rows[row][i].Adapter, Weight(i));
            }
        }

        _backend.BeginStep(_step);
    }

    private static float Weight(int entry) => 1 - (0.3f * entry);

    /// <summary>A step with these adapters on its rows; its results must be the reference's.</summary>
    private void Run(params Loaded[][] rows)
    {
        _backend.Write(s_y.Values, _y);
        Begin(rows);
        _backend.ApplyAdapters(_step.Lora, s_modules, new TensorView(_x, rows.Length, Inputs), new TensorView(_y, rows.Length, 72));
        double[] expected = [.. s_y.Values.Select(value => (double)value)];
        for (int row = 0; row < rows.Length; row++)
        {
            foreach (ModuleColumns module in s_modules)
            {
                (LowRankDelta, float)[] stack =
                    [.. rows[row].Select((one, i) => (one.Deltas[module.Module], Weight(i))).Where(part => part.Item1 is not null)!];
                int column = (row * 72) + module.FirstColumn;
                AdapterReference.Apply(s_x.Row(row), s_y.Values.AsSpan(column, module.ColumnCount), stack).CopyTo(expected, column);
            }
        }

        Closeness.AssertClose(expected, ReadAll(), 5e-7, "a step");
    }

    private float[] ReadAll()
    {
        float[] all = new float[MaxRows * 72];
        _backend.Read(new TensorView(_y, MaxRows, 72), all);
        return all;
    }

    private sealed record Loaded(DeviceAdapter Adapter, LowRankDelta?[] Deltas);
}
