using InferenceServer.Cuda;
using InferenceServer.Cuda.Interop;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.StandIns;

/// <summary>The stand-in's memory runs out, fails and is guarded as the tests ask.</summary>
[Collection(StandInCollection.Name)]
public sealed unsafe class MemoryTests
{
    [StandInFact]
    public void Fresh_memory_is_NaN_and_aligned()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");

        foreach (int byteCount in (int[])[4, 256, 4096, 4100, 3 << 20, (17 << 20) + 4])
        {
            ulong address = samples.Allocate(byteCount);

            Assert.Equal(0ul, address % 256);
            Assert.All(samples.Download<float>(address + (ulong)(byteCount & ~3) - 4, 1), value => Assert.True(float.IsNaN(value)));
            Assert.True(float.IsNaN(samples.Download<float>(address, 1)[0]));
        }
    }

    [StandInFact]
    public void Memory_ends_where_the_test_says()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        StandIn.SetMemory(StandIn.Counters.LiveBytes + 1000);
        samples.Allocate(600);

        int refused = CudaDriver.Allocate(out _, 500);
        CudaDriver.Check(CudaDriver.GetMemoryInfo(out nuint free, out _), "cuMemGetInfo");

        Assert.Equal(CudaDriver.OutOfMemory, refused);
        Assert.Equal((nuint)400, free);
        samples.Allocate(400);
    }

    [StandInFact]
    public void Copies_outside_of_an_allocation_are_refused()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        ulong address = samples.Allocate(100);
        byte* host = stackalloc byte[128];

        Assert.Equal(1, CudaDriver.CopyToDevice(address, host, 101, samples.Stream.Pointer));
        Assert.Equal(1, CudaDriver.CopyToHost(host, address + 1, 100, samples.Stream.Pointer));
        Assert.Equal(1, CudaDriver.Fill(address + 50, 0, 51, samples.Stream.Pointer));
        Assert.Equal(0, CudaDriver.CopyToDevice(address, host, 100, samples.Stream.Pointer));
    }

    [StandInFact]
    public void Memory_that_was_freed_is_illegal_to_touch()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        CudaDriver.Check(CudaDriver.Allocate(out ulong freed, 4096), "cuMemAlloc");
        CudaDriver.Check(CudaDriver.Free(freed), "cuMemFree");
        ulong y = samples.Allocate(4096);

        Assert.ThrowsAny<Exception>(() => samples.Run("probe_negate", 1, 32, freed, y, 32));

        Assert.Contains("where there is no allocation", StandIn.LastError, StringComparison.Ordinal);
    }

    [StandInFact]
    public void The_call_that_was_asked_to_fails_and_the_next_does_not()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        StandIn.Fail(DriverCall.Allocate, 2, CudaDriver.OutOfMemory);

        samples.Allocate(4);
        Assert.Equal(CudaDriver.OutOfMemory, CudaDriver.Allocate(out _, 4));
        samples.Allocate(4);
    }

    [StandInFact]
    public void After_a_sticky_error_every_call_gives_it_until_the_reset()
    {
        using SampleKernels samples = new("probes.cu", "probe_negate");
        ulong x = samples.Allocate(4);
        StandIn.Fail(DriverCall.Launch, 1, 700);

        Exception thrown = Assert.ThrowsAny<Exception>(() => samples.Run("probe_negate", 1, 32, x, x, 1));
        Assert.True(thrown is CudaException { IsSticky: true } || thrown.InnerException is CudaException { IsSticky: true });
        Assert.Equal(700, CudaDriver.Allocate(out _, 4));
        Assert.Equal(700, CudaDriver.SynchronizeStream(samples.Stream.Pointer));

        StandIn.Reset();
        samples.Allocate(4);
    }
}
