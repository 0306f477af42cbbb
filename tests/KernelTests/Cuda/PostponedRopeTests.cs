using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Rotations of queries and keys wait for the storing of the keys and are done in its kernel; nobody sees that they waited.</summary>
[Collection(StandInCollection.Name)]
public sealed class PostponedRopeTests
{
    private const int QueryHeads = 4;
    private const int KvHeads = 2;
    private const int Rows = 5;

    [StandInTheory]
    [InlineData(16, 16, WeightFormat.BF16)]
    [InlineData(16, 16, WeightFormat.F32)]
    [InlineData(20, 8, WeightFormat.BF16)]
    [InlineData(130, 130, WeightFormat.F32)]
    public void Rotating_and_storing_is_one_kernel_with_the_bits_of_three(int headSize, int rotarySize, WeightFormat format)
    {
        using CudaBackend backend = CudaTestBackend.Create();
        float[] apart = Compute(backend, headSize, rotarySize, format, readBetween: true);
        StandIn.ResetCounters();

        float[] together = Schedules.SameBitsUnderAll(() => Compute(backend, headSize, rotarySize, format, readBetween: false));

        Assert.Contains(StandIn.KernelRuns.Keys, kernel => kernel.StartsWith("rope_store_kv", StringComparison.Ordinal));
        Assert.DoesNotContain("rope", StandIn.KernelRuns.Keys);
        Closeness.AssertSameBits(apart, together, "rotated, stored and attended");
    }

    [StandInFact]
    public void A_rotation_alone_is_seen_by_whoever_reads()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using Step step = new(backend, 16, 16);
        using GuardedTensor x = new(backend, HostTensor.Random(Rows, 32, 3));
        float[] before = x.Read();

        backend.BeginStep(step.Inputs);
        backend.Rope(step.Table, 16, x.View);

        // The last row's position is not 0, so that it moves.
        Assert.NotEqual(before[^1], x.Read()[^1]);
    }

    private static float[] Compute(CudaBackend backend, int headSize, int rotarySize, WeightFormat format, bool readBetween)
    {
        using Step step = new(backend, headSize, rotarySize);
        using GuardedTensor qkv = new(backend, HostTensor.Random(Rows, (QueryHeads + (2 * KvHeads)) * headSize, 5));
        using GuardedTensor attended = new(backend, Rows, QueryHeads * headSize);
        using KvCache cache = backend.CreateKvCache(new KvCacheShape(2, 4, 4, KvHeads, headSize, format));
        TensorView q = qkv.View.SliceColumns(0, QueryHeads * headSize);
        TensorView k = qkv.View.SliceColumns(QueryHeads * headSize, KvHeads * headSize);
        TensorView v = qkv.View.SliceColumns((QueryHeads + KvHeads) * headSize, KvHeads * headSize);
        backend.BeginStep(step.Inputs);
        backend.Rope(step.Table, headSize, q);
        Look();
        backend.Rope(step.Table, headSize, k);
        Look();
        backend.StoreKv(k, v, cache, 1);
        backend.PagedAttention(q, cache, 1, new AttentionParameters(QueryHeads, KvHeads, headSize, 0.3f, 0, 0), attended.View);
        return [.. qkv.Read(), .. attended.Read()];

        void Look()
        {
            if (readBetween)
            {
                backend.Read(q, new float[q.Rows * q.Columns]);
            }
        }
    }

    /// <summary>Two sequences, of three rows and of two.</summary>
    private sealed class Step : IDisposable
    {
        public Step(CudaBackend backend, int headSize, int rotarySize)
        {
            Inputs = new StepInputs(Rows, 2);
            Inputs.AddSequence([1, 2, 3], 0, [2]);
            Inputs.AddSequence([4, 5], 4, [3, 1]);
            HostTensor angles = HostTensor.Random(8, rotarySize / 2, headSize);
            Table = new RopeTable(Upload(backend, angles, MathF.Cos), Upload(backend, angles, MathF.Sin), rotarySize, 8);
        }

        public StepInputs Inputs { get; }

        public RopeTable Table { get; }

        public void Dispose()
        {
            Table.Cos.Dispose();
            Table.Sin.Dispose();
        }

        private static DeviceBuffer Upload(CudaBackend backend, HostTensor angles, Func<float, float> of)
        {
            DeviceBuffer buffer = backend.Allocate(angles.Values.Length * sizeof(float), "angles");
            backend.Write([.. angles.Values.Select(of)], buffer);
            return buffer;
        }
    }
}
