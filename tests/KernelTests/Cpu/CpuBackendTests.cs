using InferenceServer.Cpu;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

public sealed class CpuBackendTests
{
    [Fact]
    public void The_description_says_threads_and_vector_width()
    {
        using IComputeBackend backend = CpuTestBackend.Create(512, 3);

        Assert.Equal("cpu", backend.Name);
        Assert.Contains("3 threads", backend.Description, StringComparison.Ordinal);
        Assert.Contains($"{CpuTestBackend.WidestBits}-bit", backend.Description, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(-1, 0)]
    [InlineData(5000, 0)]
    [InlineData(1, 64)]
    public void Options_out_of_range_are_refused(int threads, int bits)
    {
        CpuOptions options = new() { ThreadCount = threads, VectorBits = bits };

        Assert.Throws<ArgumentException>(() => new CpuBackend(options).Dispose());
    }

    [Fact]
    public void Memory_that_cannot_be_had_is_named()
    {
        using IComputeBackend backend = CpuTestBackend.Create(512, 1);

        OutOfMemoryException exception = Assert.ThrowsAny<OutOfMemoryException>(() => backend.Allocate(1L << 60, "the impossible").Dispose());

        Assert.Contains("'the impossible'", exception.Message, StringComparison.Ordinal);
        Assert.Contains((1L << 60).ToString(System.Globalization.CultureInfo.InvariantCulture), exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(100)]
    [InlineData(5 << 20)]
    public void New_memory_is_zero(int byteCount)
    {
        using IComputeBackend backend = CpuTestBackend.Create(512, 1);
        using DeviceBuffer buffer = backend.Allocate(byteCount, "zeros");
        float[] content = new float[byteCount / sizeof(float)];
        Array.Fill(content, 1);

        backend.Read(new TensorView(buffer, 1, content.Length), content);

        Assert.All(content, value => Assert.Equal(0, value));
    }

    [Fact]
    public void A_disposed_buffer_is_refused()
    {
        using IComputeBackend backend = CpuTestBackend.Create(512, 1);
        DeviceBuffer buffer = backend.Allocate(64, "gone");
        buffer.Dispose();
        buffer.Dispose();

        Assert.Throws<ObjectDisposedException>(() => backend.Scale(2, new TensorView(buffer, 1, 16)));
    }

    [Fact]
    public void Adapters_come_and_go_beside_running_operations()
    {
        using IComputeBackend backend = CpuTestBackend.Create(512, 2);
        HostMatrix a = new(8, 64, HostTensor.Random(8, 64, 1).Values);
        HostMatrix b = new(64, 8, HostTensor.Random(64, 8, 2).Values);
        AdapterWeights weights = new("test@0", [new LowRankDelta { A = a, B = b }]);
        using DeviceAdapter adapter = backend.CreateAdapter(weights, WeightFormat.BF16);
        using DeviceBuffer buffer = backend.Allocate(2 * 100 * 64 * sizeof(float), "rows");
        float[] input = HostTensor.Random(200, 64, 3).Values;
        TensorView x = new(buffer, 100, 64);
        TensorView y = new(buffer, 100 * 64, 100, 64, 64);
        LoraBatch batch = new();
        batch.BeginGroup(0, 100);
        batch.AddEntry(adapter, 1);
        float[] expected = Once();
        using CancellationTokenSource done = new();
        Thread loader = new(() =>
        {
            while (!done.IsCancellationRequested)
            {
                backend.CreateAdapter(weights, WeightFormat.BF16).Dispose();
            }
        });
        loader.Start();

        for (int i = 0; i < 300; i++)
        {
            Closeness.AssertSameBits(expected, Once(), $"round {i}");
        }

        done.Cancel();
        loader.Join();

        float[] Once()
        {
            backend.Write(input, buffer);
            backend.ApplyAdapters(batch, [new ModuleColumns(0, 0, y.Columns)], x, y);
            float[] result = new float[100 * 64];
            backend.Read(y, result);
            return result;
        }
    }
}
