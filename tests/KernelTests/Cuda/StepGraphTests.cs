using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>When steps are captured, and that a graph does what its launches did.</summary>
[Collection(StandInCollection.Name)]
public sealed class StepGraphTests
{
    private const int Columns = 33;

    [StandInFact]
    public void A_step_that_comes_again_is_captured_and_then_launched_as_a_graph()
    {
        using Bench bench = new();

        for (int step = 0; step < 4; step++)
        {
            bench.Run(tokens: 4);
        }

        Assert.Equal(1, bench.Backend.Context.Queue.Graphs.CaptureCount);
        Assert.Equal(3, bench.Backend.Context.Queue.Graphs.LaunchCount);
    }

    [StandInFact]
    public void Batches_of_one_bucket_share_a_graph_and_touch_their_own_rows_only()
    {
        using Bench bench = new();
        using Bench eager = new(graphs: false);

        foreach (int tokens in new[] { 8, 8, 5, 7, 6, 8, 5 })
        {
            Assert.Equal(eager.Run(tokens), bench.Run(tokens));
        }

        Assert.Equal(1, bench.Backend.Context.Queue.Graphs.CaptureCount);
        Assert.Equal(6, bench.Backend.Context.Queue.Graphs.LaunchCount);
        Assert.Equal(0, eager.Backend.Context.Queue.Graphs.CaptureCount);
    }

    [StandInFact]
    public void Other_arguments_are_another_graph()
    {
        using Bench bench = new();

        for (int step = 0; step < 6; step++)
        {
            bench.Run(tokens: 2, factor: step % 2 == 0 ? 2f : 3f);
        }

        Assert.Equal(2, bench.Backend.Context.Queue.Graphs.CaptureCount);
        Assert.Equal(4, bench.Backend.Context.Queue.Graphs.LaunchCount);
    }

    [StandInFact]
    public void A_step_with_a_chunk_of_a_prompt_is_launched_one_by_one()
    {
        using Bench bench = new();

        for (int step = 0; step < 3; step++)
        {
            bench.Run(tokens: 6, sequences: 2);
        }

        Assert.Equal(0, bench.Backend.Context.Queue.Graphs.CaptureCount);
    }

    [StandInFact]
    public void Results_do_not_depend_on_when_streams_do_their_work()
    {
        using Bench bench = new();
        float[] expected = bench.Run(tokens: 3);
        try
        {
            foreach (ulong seed in new ulong[] { 1, 2, 3, 4, 5 })
            {
                StandIn.SetOrder(StreamOrder.Shuffled, seed);
                Assert.Equal(expected, bench.Run(tokens: 3));
            }
        }
        finally
        {
            StandIn.Reset();
        }
    }

    /// <summary>x = picked rows of random ones, scaled, added to themselves: a step of three launches.</summary>
    private sealed class Bench : IDisposable
    {
        private const int MaxRows = 16;
        private static readonly HostTensor s_input = HostTensor.Random(MaxRows, Columns, 7);
        private readonly DeviceBuffer _x;
        private readonly DeviceBuffer _y;
        private readonly StepInputs _step = new(MaxRows, MaxRows);

        public Bench(bool graphs = true)
        {
            Backend = CudaTestBackend.Create(graphs: graphs);
            _x = Backend.Allocate(MaxRows * Columns * sizeof(float), "x");
            _y = Backend.Allocate(MaxRows * Columns * sizeof(float), "y");
        }

        public CudaBackend Backend { get; }

        /// <summary>Runs a step and returns all rows of y, also those beyond the step's.</summary>
        public float[] Run(int tokens, int? sequences = null, float factor = 2f)
        {
            Backend.Write(s_input.Values, _x);
            float[] untouched = new float[MaxRows * Columns];
            Array.Fill(untouched, -7f);
            Backend.Write(untouched, _y);
            _step.Clear();
            int count = sequences ?? tokens;
            for (int i = 0; i < count; i++)
            {
                _step.AddSequence(new int[tokens / count], 3 + i, [i]);
            }

            for (int row = 0; row < tokens; row++)
            {
                _step.AddSampledRow(row);
            }

            Backend.BeginStep(_step);
            TensorView x = new(_x, tokens, Columns);
            TensorView y = new(_y, tokens, Columns);
            Backend.GatherSampledRows(x, y);
            Backend.Scale(factor, y);
            Backend.Add(x, y);
            float[] all = new float[MaxRows * Columns];
            Backend.Read(new TensorView(_y, MaxRows, Columns), all);
            for (int i = 0; i < all.Length; i++)
            {
                Assert.Equal(i < tokens * Columns ? (s_input.Values[i] * factor) + s_input.Values[i] : -7f, all[i]);
            }

            return all;
        }

        public void Dispose()
        {
            _x.Dispose();
            _y.Dispose();
            Backend.Dispose();
        }
    }
}
