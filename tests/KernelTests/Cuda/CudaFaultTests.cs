using InferenceServer.Cuda;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Cuda;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>What a failing driver becomes.</summary>
[Collection(StandInCollection.Name)]
public sealed class CudaFaultTests : IDisposable
{
    private const int IllegalAddress = 700;
    private const int InvalidValue = 1;

    public void Dispose() => StandIn.Reset();

    [StandInFact]
    public void A_sticky_error_is_a_lost_device_and_names_call_and_error()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using DeviceBuffer buffer = backend.Allocate(64, "buffer");
        StandIn.Fail(DriverCall.Launch, 1, IllegalAddress);

        DeviceLostException lost = Assert.Throws<DeviceLostException>(() =>
        {
            backend.Scale(2f, new TensorView(buffer, 1, 16));
            backend.Read(new TensorView(buffer, 1, 16), new float[16]);
        });

        Assert.Contains("cuLaunchKernel", lost.Message, StringComparison.Ordinal);
        Assert.Equal(IllegalAddress, Assert.IsType<CudaException>(lost.InnerException).Code);
        Assert.Throws<DeviceLostException>(() => backend.Allocate(64, "after"));
        StandIn.Reset();
    }

    [StandInFact]
    public void Another_error_is_its_calls_alone()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using DeviceBuffer buffer = backend.Allocate(64, "buffer");
        backend.Write([1f, 2f], buffer);
        StandIn.Fail(DriverCall.Launch, 1, InvalidValue);

        Assert.Throws<CudaException>(() => backend.Scale(2f, new TensorView(buffer, 1, 2)));

        float[] values = new float[2];
        backend.Scale(3f, new TensorView(buffer, 1, 2));
        backend.Read(new TensorView(buffer, 1, 2), values);
        Assert.Equal([3f, 6f], values);
    }

    [StandInTheory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_a_step_that_was_given_up_had_gathered_is_never_launched(bool isPostponed)
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using DeviceBuffer buffer = backend.Allocate(64, "buffer");
        TensorView x = new(buffer, 1, 16);
        StepInputs step = new(1, 1);
        step.AddSequence([1], 0, [0]);
        step.AddSampledRow(0);
        backend.BeginStep(step);
        StandIn.ResetCounters();
        if (isPostponed)
        {
            backend.Add(x, x);
        }
        else
        {
            backend.Scale(2f, x);
        }

        backend.AbandonStep();

        backend.BeginStep(step);
        backend.Read(x, new float[16]);
        Assert.Equal((0, 0), (StandIn.Counters.Launches, StandIn.Counters.KernelsRun));
    }

    [StandInFact]
    public void A_step_is_given_up_only_when_what_it_launched_is_done()
    {
        using CudaBackend backend = CudaTestBackend.Create(graphs: false);
        using DeviceBuffer buffer = backend.Allocate(64, "buffer");
        StepInputs step = new(1, 1);
        step.AddSequence([1], 0, [0]);
        StandIn.SetOrder(StreamOrder.Lazy);
        backend.BeginStep(step);
        StandIn.ResetCounters();
        backend.Scale(2f, new TensorView(buffer, 1, 16));
        Assert.Equal(0, StandIn.Counters.KernelsRun);

        backend.AbandonStep();

        Assert.Equal(1, StandIn.Counters.KernelsRun);
    }

    [StandInFact]
    public void A_buffer_that_does_not_fit_names_what_it_was_for()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        StandIn.SetMemory(1 << 20);

        DeviceMemoryException error = Assert.Throws<DeviceMemoryException>(() => backend.Allocate(2 << 20, "the KV cache"));

        Assert.Contains("2097152 bytes for 'the KV cache'", error.Message, StringComparison.Ordinal);
        using DeviceBuffer small = backend.Allocate(1024, "small");
    }

    [StandInFact]
    public void All_memory_is_free_again_when_a_backend_is_gone()
    {
        using (CudaTestBackend.Create())
        {
            // Loads the libraries, which hold what they hold.
        }

        StandInCounters before = StandIn.Counters;
        using (CudaBackend backend = CudaTestBackend.Create())
        {
            using DeviceBuffer buffer = backend.Allocate(1 << 16, "buffer");
            Assert.True(StandIn.Counters.LiveBytes > before.LiveBytes);
        }

        StandInCounters after = StandIn.Counters;
        Assert.Equal(
            (before.LiveBytes, before.PinnedAllocations, before.ModulesAlive, before.StreamsAlive, before.EventsAlive, before.GraphsAlive),
            (after.LiveBytes, after.PinnedAllocations, after.ModulesAlive, after.StreamsAlive, after.EventsAlive, after.GraphsAlive));
    }

    [StandInFact]
    public void Compiled_kernels_are_kept_and_broken_ones_are_compiled_again()
    {
        string folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            CudaOptions options = new() { LibraryPath = StandIn.Folder, KernelCache = folder };
            Open(options);
            string[] kept = Directory.GetFiles(folder);
            Assert.Equal(KernelSources.Kernels.Count, kept.Length);
            Dictionary<string, byte[]> images = kept.ToDictionary(file => file, File.ReadAllBytes, StringComparer.Ordinal);
            File.WriteAllBytes(kept[0], [1, 2, 3]);

            Open(options);

            Assert.Equal(kept.Order(), Directory.GetFiles(folder).Order());
            Assert.All(images, image => Assert.Equal(image.Value, File.ReadAllBytes(image.Key)));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [StandInFact]
    public void A_device_that_is_not_there_is_no_exception()
    {
        Assert.False(CudaBackend.TryCreate(new CudaOptions { LibraryPath = StandIn.Folder, Device = 7 }, out _, out string reason));
        Assert.Equal("device 7 was asked for and there are 1", reason);
    }

    private static void Open(CudaOptions options)
    {
        Assert.True(CudaBackend.TryCreate(options, out CudaBackend? backend, out string reason), reason);
        backend.Dispose();
    }
}
