using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.StandIns;

/// <summary>The shim's operations do what the manuals say of them.</summary>
[Collection(StandInCollection.Name)]
public sealed class ProbeTests
{
    [StandInFact]
    public void Matrix_fragments_multiply_as_matrices_do()
    {
        foreach (KernelSchedule schedule in Schedules.All)
        {
            using SampleKernels samples = new("probes.cu", "probe_mma");
            StandIn.SetSchedule(schedule);

            // Small integers: every order of additions gives the same sum.
            float[] a = Integers(256, 1), b = Integers(128, 2), c = Integers(128, 3);
            float[] expected = [.. c];
            for (int i = 0; i < 128; i++)
            {
                for (int k = 0; k < 16; k++)
                {
                    expected[i] += a[(i / 8 * 16) + k] * b[(i % 8 * 16) + k];
                }
            }

            ulong product = samples.Upload<float>(c);
            samples.Run("probe_mma", 1, 32, samples.Upload<ushort>(Halves(a)), samples.Upload<ushort>(Halves(b)), product);

            Assert.Equal(expected, samples.Download<float>(product, 128));
        }
    }

    [StandInTheory]
    [InlineData(1f)]
    [InlineData(-1f)]
    public void Sums_of_products_are_cut_off_towards_zero(float sign)
    {
        using SampleKernels samples = new("probes.cu", "probe_mma");
        float[] a = new float[256], b = new float[128];
        a[0] = sign;
        a.AsSpan(1, 7).Fill(sign * 1.5f * MathF.ScaleB(1, -24));
        b.AsSpan(0, 8).Fill(1);
        ulong product = samples.Upload<float>(new float[128]);

        samples.Run("probe_mma", 1, 32, samples.Upload<ushort>(Halves(a)), samples.Upload<ushort>(Halves(b)), product);

        // Seven times 2^-24 are left of the small ones, of which a float next to 1 keeps three times 2^-23; rounding each sum would keep seven.
        Assert.Equal(sign * (1 + (3 * MathF.ScaleB(1, -23))), samples.Download<float>(product, 128)[0]);
    }

    [StandInFact]
    public void A_transposed_matrix_load_hands_out_columns()
    {
        using SampleKernels samples = new("probes.cu", "probe_transpose");
        ushort[] x = [.. Enumerable.Range(0, 64).Select(i => (ushort)i)];
        ulong y = samples.Allocate(128);

        samples.Run("probe_transpose", 1, 32, samples.Upload<ushort>(x), y);

        // Lane l holds elements (2 (l % 4), l / 4) and the one below: PTX ISA, "ldmatrix".
        uint[] expected = [.. Enumerable.Range(0, 32).Select(lane =>
        {
            uint first = (uint)((2 * (lane % 4) * 8) + (lane / 4));
            return first | ((first + 8) << 16);
        })];
        Assert.Equal(expected, samples.Download<uint>(y, 32));
    }

    [StandInFact]
    public void Warp_operations_move_what_the_guide_says()
    {
        using SampleKernels samples = new("probes.cu", "probe_warp");
        int[] x = [.. Enumerable.Range(0, 32).Select(i => ((i * 37) + 11) % 101)];
        ulong y = samples.Allocate(256 * sizeof(int));

        samples.Run("probe_warp", 1, 32, samples.Upload<int>(x), y);

        int[] actual = samples.Download<int>(y, 256);
        int ballot = 0;
        for (int lane = 0; lane < 32; lane++)
        {
            ballot |= (x[lane] & 1) << lane;
        }

        for (int lane = 0; lane < 32; lane++)
        {
            Assert.Equal(x[lane ^ 5], actual[lane]);
            Assert.Equal(lane >= 3 ? x[lane - 3] : x[lane], actual[32 + lane]);
            Assert.Equal(lane % 8 < 5 ? x[lane + 3] : x[lane], actual[64 + lane]);
            Assert.Equal(x[(lane & 16) | 9], actual[96 + lane]);
            Assert.Equal(ballot, actual[128 + lane]);
            Assert.Equal(x.Sum(), actual[160 + lane]);
            Assert.Equal(3, actual[192 + lane]);
            Assert.Equal(lane < 8 ? x[lane ^ 1] : -1, actual[224 + lane]);
        }
    }

    [StandInTheory]
    [InlineData(1)]
    [InlineData(2)]
    public void Atomics_lose_nothing_on_several_threads(int threads)
    {
        using SampleKernels samples = new("probes.cu", "probe_atomics");
        StandIn.SetThreads(threads);
        ulong count = samples.Upload<int>([0]), sum = samples.Upload<float>([0]), largest = samples.Upload<uint>([0]);

        samples.Run("probe_atomics", 100, 64, count, sum, largest);

        Assert.Equal(6400, samples.Download<int>(count, 1)[0]);
        Assert.Equal(3200f, samples.Download<float>(sum, 1)[0]);
        Assert.Equal(6399u, samples.Download<uint>(largest, 1)[0]);
    }

    private static float[] Integers(int count, int seed) => [.. HostTensor.Random(1, count, seed, 8).Values.Select(value => MathF.Round(value))];

    private static ushort[] Halves(float[] values) => [.. values.Select(value => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16))];
}
