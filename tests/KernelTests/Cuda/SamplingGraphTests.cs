using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Sampling;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Drawing is a part of a step's graph, whatever the settings and the lengths of histories.</summary>
[Collection(StandInCollection.Name)]
public sealed class SamplingGraphTests
{
    private const int V = 4200;
    private const int MaxRows = 8;

    private static readonly HostTensor s_logits = SamplingBench.Logits(MaxRows, V, 3, new Random(3));

    private enum Kind
    {
        Greedy,
        Warm,
        Filtered,
    }

    [StandInFact]
    public void Steps_of_one_bucket_and_kind_are_one_graph()
    {
        using Bench bench = new(graphs: true);

        foreach (int rows in new[] { 8, 8, 5, 7, 6 })
        {
            bench.Run(rows, Kind.Filtered);
        }

        Assert.Equal(1, bench.Backend.Context.Queue.Graphs.CaptureCount);
        Assert.Equal(4, bench.Backend.Context.Queue.Graphs.LaunchCount);
    }

    [StandInFact]
    public void Graphs_draw_what_single_launches_draw()
    {
        using Bench graphs = new(graphs: true);
        using Bench eager = new(graphs: false);
        Kind[] kinds = [Kind.Greedy, Kind.Greedy, Kind.Warm, Kind.Filtered, Kind.Warm, Kind.Filtered, Kind.Greedy, Kind.Filtered];
        foreach (Kind kind in kinds)
        {
            Assert.Equal(eager.Run(7, kind), graphs.Run(7, kind));
        }

        Assert.Equal(3, graphs.Backend.Context.Queue.Graphs.CaptureCount);
        Assert.Equal(0, eager.Backend.Context.Queue.Graphs.CaptureCount);
    }

    [StandInTheory]
    [InlineData(true, 1)]
    [InlineData(false, 1)]
    [InlineData(true, 3)]
    public void A_step_copies_once_up_and_once_down_and_no_logits(bool graphs, int rowsEach)
    {
        using Bench bench = new(graphs, rowsEach);
        for (int i = 0; i < 3; i++)
        {
            bench.Run(6, Kind.Filtered);
        }

        StandIn.ResetCounters();
        bench.Run(6, Kind.Filtered);
        StandInCounters counters = StandIn.Counters;

        Assert.Equal(1, counters.CopiesUp);
        Assert.Equal((1, 6 * 16), (counters.CopiesDown, counters.BytesDown));
        bool isGraph = graphs && rowsEach == 1;
        Assert.Equal(isGraph ? 1 : 0, counters.GraphLaunches);
        Assert.Equal(isGraph, counters.Launches == 0);
        Assert.Equal(0, counters.Allocations);
    }

    [StandInFact]
    public void A_batch_that_is_not_the_steps_is_copied_by_itself_and_draws_the_same()
    {
        using Bench bench = new(graphs: true);
        for (int i = 0; i < 3; i++)
        {
            bench.Run(6, Kind.Filtered, isOwn: false);
        }

        StandIn.ResetCounters();
        bench.Run(6, Kind.Filtered, isOwn: false);

        Assert.Equal(2, StandIn.Counters.CopiesUp);
    }

    [StandInFact]
    public void A_batch_can_be_drawn_twice_in_a_step()
    {
        using Bench bench = new(graphs: true);

        bench.Run(5, Kind.Filtered, draws: 2);
    }

    [StandInFact]
    public void Tokens_do_not_depend_on_when_streams_do_their_work()
    {
        using Bench bench = new(graphs: true);
        using Bench other = new(graphs: true);
        try
        {
            for (ulong seed = 1; seed <= 5; seed++)
            {
                StandIn.Reset();
                SampledToken[] expected = bench.Run(6, Kind.Filtered);
                StandIn.SetOrder(seed == 1 ? StreamOrder.Lazy : StreamOrder.Shuffled, seed);
                Assert.Equal(expected, other.Run(6, Kind.Filtered));
            }
        }
        finally
        {
            StandIn.Reset();
        }
    }

    /// <summary>Steps of decodes whose logits are rows of fixed ones; each step has other settings and longer histories than the one before.</summary>
    private sealed class Bench : IDisposable
    {
        private readonly DeviceBuffer _x;
        private readonly DeviceBuffer _logits;
        private readonly StepInputs _step = new(MaxRows, MaxRows);
        private readonly SamplingBatch _other = new();
        private readonly int _rowsEach;
        private int _steps;

        /// <param name="graphs">Whether steps are captured.</param>
        /// <param name="rowsEach">Rows of a sequence; with more than one the step is no graph's.</param>
        public Bench(bool graphs, int rowsEach = 1)
        {
            _rowsEach = rowsEach;
            Backend = CudaTestBackend.Create(graphs: graphs);
            _x = Backend.Allocate(MaxRows * V * sizeof(float), "x");
            _logits = Backend.Allocate(MaxRows * V * sizeof(float), "logits");
            Backend.Write(s_logits.Values, _x);
        }

        public CudaBackend Backend { get; }

        /// <summary>Runs a step; its tokens must be the host's.</summary>
        public SampledToken[] Run(int rows, Kind kind, bool isOwn = true, int draws = 1)
        {
            _step.Clear();
            _other.Clear();
            SamplingBatch batch = isOwn ? _step.Sampling : _other;
            int[] history = [.. Enumerable.Range(0, 20 + (10 * ++_steps))];
            for (int i = 0; i < rows; i++)
            {
                if (i % _rowsEach == 0)
                {
                    _step.AddSequence(new int[_rowsEach], 3 + i, [i]);
                }

                _step.AddSampledRow(i);
                float temperature = kind == Kind.Greedy || i == 3 ? 0f : 0.5f + (0.1f * i);
                SamplingRow row = SamplingBench.Plain(temperature, seed: (ulong)i, draw: history.Length) with
                {
                    TopK = kind == Kind.Filtered && i % 2 == 0 ? 10 + _steps : 0,
                    TopP = kind == Kind.Filtered ? 0.9f - (0.01f * _steps) : 1f,
                    PresencePenalty = 0.1f * i,
                };
                batch.Add(row, output: history);
            }

            Backend.BeginStep(_step);
            TensorView logits = new(_logits, rows, V);
            Backend.GatherSampledRows(new TensorView(_x, rows, V), logits);
            SampledToken[] tokens = new SampledToken[rows];
            SampledToken[] expected = SamplingBench.Expected(s_logits.Slice(0, rows), batch);
            for (int i = 0; i < draws; i++)
            {
                Backend.Sample(logits, batch, tokens);
                Assert.Equal(expected.Select(one => one.Token), tokens.Select(one => one.Token));
            }

            return tokens;
        }

        public void Dispose()
        {
            _x.Dispose();
            _logits.Dispose();
            Backend.Dispose();
        }
    }
}
