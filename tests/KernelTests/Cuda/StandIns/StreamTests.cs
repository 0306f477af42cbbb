using InferenceServer.Cuda;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Memory;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.StandIns;

/// <summary>Streams, events and graphs of the stand-in keep what a device keeps, and no more.</summary>
[Collection(StandInCollection.Name)]
public sealed unsafe class StreamTests
{
    private const int Count = 64;

    public static TheoryData<StreamOrder> Orders => [.. Enum.GetValues<StreamOrder>()];

    public static TheoryData<StreamOrder> LateOrders => [StreamOrder.Lazy, StreamOrder.OthersFirst, StreamOrder.Shuffled];

    [StandInTheory]
    [MemberData(nameof(Orders))]
    public void Streams_joined_by_an_event_give_the_result_in_every_order(StreamOrder order)
    {
        for (ulong seed = 1; seed <= 8; seed++)
        {
            Assert.Equal(-1f, CopiedThenNegated(order, seed, withEvent: true));
        }
    }

    [StandInFact]
    public void A_missing_event_is_seen_where_streams_are_lazy()
    {
        Assert.NotEqual(-1f, CopiedThenNegated(StreamOrder.Lazy, 1, withEvent: false));
    }

    [StandInFact]
    public void Memory_overwritten_before_it_was_read_is_seen_where_others_go_first()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        using CudaStream other = new();
        using PinnedBuffer pinned = new(Count * sizeof(float));
        ulong x = samples.Upload<float>([.. Enumerable.Repeat(1f, Count)]), y = samples.Allocate(Count * sizeof(float));
        StandIn.SetOrder(StreamOrder.OthersFirst);
        new Span<float>(pinned.Pointer, Count).Fill(2);

        samples.Launch("probe_negate", 1, Count, 0, null, x, y, Count);
        CudaDriver.Check(CudaDriver.CopyToDevice(x, pinned.Pointer, Count * sizeof(float), other.Pointer), "copy");

        Assert.Equal(-2f, samples.Download<float>(y, Count)[0]);
    }

    [StandInTheory]
    [MemberData(nameof(LateOrders))]
    public void Pinned_memory_is_read_when_the_copy_runs_and_other_memory_when_it_is_called(StreamOrder order)
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        using PinnedBuffer pinned = new(sizeof(float));
        ulong first = samples.Allocate(sizeof(float)), second = samples.Allocate(sizeof(float));
        StandIn.SetOrder(order);
        float host = 1;
        *(float*)pinned.Pointer = 1;

        CudaDriver.Check(CudaDriver.CopyToDevice(first, pinned.Pointer, sizeof(float), samples.Stream.Pointer), "copy");
        CudaDriver.Check(CudaDriver.CopyToDevice(second, &host, sizeof(float), samples.Stream.Pointer), "copy");
        *(float*)pinned.Pointer = host = 2;

        Assert.Equal(2f, samples.Download<float>(first, 1)[0]);
        Assert.Equal(1f, samples.Download<float>(second, 1)[0]);
    }

    [StandInFact]
    public void A_graph_keeps_the_arguments_of_its_capture_and_runs_again()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        ulong x = samples.Upload<float>([1f, 2f]), y = samples.Upload<float>([0f, 0f]);

        // The arguments' memory is gone when the capture is over.
        using CudaGraph graph = samples.Stream.Capture(() => samples.Launch("probe_negate", 1, 32, 0, null, x, y, 1));
        Assert.Equal([0f, 0f], samples.Download<float>(y, 2));
        StandIn.ResetCounters();
        graph.Launch(samples.Stream);
        float[] once = samples.Download<float>(y, 2);
        float five = 5;
        CudaDriver.Check(CudaDriver.CopyToDevice(x, &five, sizeof(float), samples.Stream.Pointer), "copy");
        graph.Launch(samples.Stream);

        Assert.Equal([-1f, 0f], once);
        Assert.Equal([-5f, 0f], samples.Download<float>(y, 2));
        Assert.Equal((2, 0, 2), (StandIn.Counters.GraphLaunches, StandIn.Counters.Launches, StandIn.Counters.KernelsRun));
        Assert.Equal(2, StandIn.KernelRuns["probe_negate"]);
    }

    [StandInFact]
    public void Taking_memory_or_waiting_breaks_a_capture()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");

        foreach (Action forbidden in (Action[])[() => samples.Allocate(4), samples.Stream.Synchronize])
        {
            int inside = 0;

            CudaException thrown = Assert.Throws<CudaException>(() => samples.Stream.Capture(() =>
                inside = Assert.Throws<CudaException>(forbidden).Code));

            Assert.Equal((900, 901), (inside, thrown.Code));
        }

        // The stream is of use again.
        samples.Stream.Capture(() => { }).Dispose();
    }

    [StandInFact]
    public void A_thread_needs_the_context()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        int without = 0, with = 0;
        Thread thread = new(() =>
        {
            without = CudaDriver.Allocate(out _, 4);
            samples.Device.MakeCurrent();
            with = CudaDriver.Allocate(out ulong address, 4);
            _ = CudaDriver.Free(address);
        });

        thread.Start();
        thread.Join();

        Assert.Equal((201, 0), (without, with));
    }

    [StandInFact]
    public void A_context_ends_with_its_last_user_on_every_thread()
    {
        new SampleKernels("probes.cu", "probe_negate").Dispose();
        CudaDevice? next = null;
        Thread thread = new(() => CudaDevice.TryOpen(0, out next, out _));
        thread.Start();
        thread.Join();

        using CudaDevice device = next!;
        int before = CudaDriver.Allocate(out _, 4);
        device.MakeCurrent();
        int after = CudaDriver.Allocate(out ulong address, 4);
        _ = CudaDriver.Free(address);

        Assert.Equal((709, 0), (before, after));
    }

    /// <summary>A copy on one stream, a kernel that reads its target on another.</summary>
    private static float CopiedThenNegated(StreamOrder order, ulong seed, bool withEvent)
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        using CudaStream copies = new();
        using CudaEvent copied = new();
        using PinnedBuffer pinned = new(Count * sizeof(float));
        ulong x = samples.Upload<float>(new float[Count]), y = samples.Allocate(Count * sizeof(float));
        StandIn.SetOrder(order, seed);
        new Span<float>(pinned.Pointer, Count).Fill(1);

        CudaDriver.Check(CudaDriver.CopyToDevice(x, pinned.Pointer, Count * sizeof(float), copies.Pointer), "copy");
        if (withEvent)
        {
            copied.Record(copies);
            samples.Stream.WaitFor(copied);
        }

        samples.Launch("probe_negate", 1, Count, 0, null, x, y, Count);
        return samples.Download<float>(y, Count)[Count - 1];
    }
}
