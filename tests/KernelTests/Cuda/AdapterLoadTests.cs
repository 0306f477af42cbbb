using InferenceServer.Cuda;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>What happens when adapters are loaded at once, do not fit or meet a failing driver.</summary>
[Collection(StandInCollection.Name)]
public sealed class AdapterLoadTests : IDisposable
{
    private const int InvalidValue = 1;
    private readonly CudaBackend _backend = CudaTestBackend.Create();

    private PagePool Pages => _backend.Context.Machine.Adapters.Pages;

    public void Dispose()
    {
        StandIn.Reset();
        _backend.Dispose();
    }

    [StandInFact]
    public void An_adapter_that_does_not_fit_is_named_and_leaves_the_others_alone()
    {
        using CudaBackend small = CudaTestBackend.Create(adapterMemoryBytes: 3 * PagePool.DefaultChunkBytes);
        using DeviceAdapter first = small.CreateAdapter(Weights("first@1", 4, 1), WeightFormat.BF16);
        PagePool pages = small.Context.Machine.Adapters.Pages;
        long used = pages.UsedBytes;
        float[] before = Deltas(small, first, 1);
        AdapterWeights wide = new("wide@2", [new LowRankDelta { A = Matrix(1, 600_000, 1), B = Matrix(300_000, 1, 2) }]);

        DeviceMemoryException error = Assert.Throws<DeviceMemoryException>(() => small.CreateAdapter(wide, WeightFormat.F32));

        Assert.Contains("'wide@2'", error.Message, StringComparison.Ordinal);
        Assert.Contains($"AdapterMemoryBytes {3 * PagePool.DefaultChunkBytes}", error.Message, StringComparison.Ordinal);
        Assert.Equal(used, pages.UsedBytes);
        Closeness.AssertSameBits(before, Deltas(small, first, 1), "the first adapter");
        small.CreateAdapter(Weights("second@1", 8, 2), WeightFormat.BF16).Dispose();
    }

    [StandInTheory]
    [InlineData(DriverCall.Copy)]
    [InlineData(DriverCall.Synchronize)]
    public void A_copy_that_fails_gives_the_pages_back_and_the_next_load_is_sound(DriverCall call)
    {
        StandIn.Fail(call, 1, InvalidValue);

        Assert.Throws<CudaException>(() => _backend.CreateAdapter(Weights("failing@0", 5, 1), WeightFormat.BF16));

        StandIn.Reset();
        Assert.Equal(0, Pages.UsedBytes);
        using DeviceAdapter adapter = _backend.CreateAdapter(Weights("sound@0", 5, 1), WeightFormat.BF16);
        float[] sound = Deltas(_backend, adapter, 1);
        using CudaBackend other = CudaTestBackend.Create();
        using DeviceAdapter same = other.CreateAdapter(Weights("same@0", 5, 1), WeightFormat.BF16);
        Closeness.AssertSameBits(Deltas(other, same, 1), sound, "after a failure");
    }

    [StandInFact]
    public void Adapters_of_several_threads_and_megabytes_arrive_whole()
    {
        // Rows of 700 kB: several fillings of the staging memory each, and pages that do not lie side by side.
        DeviceAdapter[] adapters = new DeviceAdapter[4];
        DeviceAdapter gap = _backend.CreateAdapter(Wide(9, 3), WeightFormat.BF16);
        DeviceAdapter between = _backend.CreateAdapter(Wide(8, 2), WeightFormat.BF16);
        gap.Dispose();

        Parallel.For(0, adapters.Length, i => adapters[i] = _backend.CreateAdapter(Wide(i, 4 + i), WeightFormat.BF16));

        for (int i = 0; i < adapters.Length; i++)
        {
            LoraBatch batch = new();
            batch.BeginGroup(0, 1);
            batch.AddEntry(adapters[i], 1);
            using DeviceBuffer x = _backend.Allocate(350_000 * sizeof(float), "x");
            using DeviceBuffer y = _backend.Allocate(3 * sizeof(float), "y");
            float[] ones = new float[350_000];
            Array.Fill(ones, 1f / 1024);
            _backend.Write(ones, x);
            _backend.ApplyAdapters(batch, [new ModuleColumns(0, 0, 3)], new TensorView(x, 1, 350_000), new TensorView(y, 1, 3));
            float[] read = new float[3];
            _backend.Read(new TensorView(y, 1, 3), read);

            // A's elements are i + 1, B's 1, 2 and 3 by output: all sums are exact but for the last bits.
            double h = 350_000.0 / 1024 * (i + 1) * (4 + i);
            Closeness.AssertClose([h, 2 * h, 3 * h], read, 1e-6, $"adapter {i}");
            adapters[i].Dispose();
        }

        between.Dispose();
        Assert.Equal(0, Pages.UsedBytes);
    }

    [StandInFact]
    public void An_adapter_may_be_disposed_of_after_its_backend()
    {
        CudaBackend backend = CudaTestBackend.Create();
        DeviceAdapter adapter = backend.CreateAdapter(Weights("late@0", 5, 1), WeightFormat.BF16);

        backend.Dispose();
        adapter.Dispose();
    }

    private static AdapterWeights Wide(int value, int rank)
    {
        HostMatrix a = new(rank, 350_000, new float[rank * 350_000]);
        Array.Fill(a.Values, value + 1f);
        float[] b = new float[3 * rank];
        for (int i = 0; i < b.Length; i++)
        {
            b[i] = (i / rank) + 1;
        }

        return new AdapterWeights($"wide-{value}@0", [new LowRankDelta { A = a, B = new HostMatrix(3, rank, b) }]);
    }

    private static HostMatrix Matrix(int rows, int columns, int seed) => new(rows, columns, HostTensor.Random(rows, columns, seed).Values);

    private static AdapterWeights Weights(string label, int rank, int seed) =>
        new(label, [new LowRankDelta { A = Matrix(rank, 40, seed), B = Matrix(24, rank, seed + 1) }]);

    /// <summary>What the adapter adds to zeros.</summary>
    private static float[] Deltas(CudaBackend backend, DeviceAdapter adapter, int rows)
    {
        LoraBatch batch = new();
        batch.BeginGroup(0, rows);
        batch.AddEntry(adapter, 1);
        using DeviceBuffer x = backend.Allocate(rows * 40 * sizeof(float), "x");
        using DeviceBuffer y = backend.Allocate(rows * 24 * sizeof(float), "y");
        backend.Write(HostTensor.Random(rows, 40, 77).Values, x);
        backend.ApplyAdapters(batch, [new ModuleColumns(0, 0, 24)], new TensorView(x, rows, 40), new TensorView(y, rows, 24));
        float[] read = new float[rows * 24];
        backend.Read(new TensorView(y, rows, 24), read);
        return read;
    }
}
