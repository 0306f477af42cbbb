using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>An addition waits for a norm of its sum and is done in the norm's kernel; nobody sees that it waited.</summary>
[Collection(StandInCollection.Name)]
public sealed class PostponedAddTests
{
    private const int Rows = 5;
    private const int Columns = 700;

    private static readonly HostTensor s_x = HostTensor.Random(Rows, Columns, 1);
    private static readonly HostTensor s_y = HostTensor.Random(Rows, Columns, 2);

    [StandInFact]
    public void An_addition_and_the_norm_of_its_sum_are_one_kernel_with_the_bits_of_two()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        (float[] Sum, float[] Normed) apart = Compute(backend, between: (_, sum) => backend.Read(sum, new float[Rows * Columns]));
        StandIn.ResetCounters();

        (float[] sum, float[] normed) = Compute(backend, between: null);

        Assert.Equal(["add_rms_norm"], StandIn.KernelRuns.Keys);
        Closeness.AssertSameBits(apart.Sum, sum, "sum");
        Closeness.AssertSameBits(apart.Normed, normed, "norm");
    }

    [StandInFact]
    public void Whatever_else_comes_next_finds_the_sum()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        (float[] Sum, float[] Normed) plain = Compute(backend, between: null);
        float[] twice = [.. s_x.Values.Select((value, i) => s_y.Values[i] + value + value)];

        (float[] added, _) = Compute(backend, between: backend.Add);
        (float[] scaled, _) = Compute(backend, between: (_, sum) => backend.Scale(2f, sum));

        Assert.Equal(twice, added);
        Assert.Equal(plain.Sum.Select(value => 2f * value), scaled);
    }

    [StandInFact]
    public void A_norm_in_place_keeps_to_two_kernels()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using DeviceBuffer weight = Ones(backend);
        using GuardedTensor x = new(backend, s_x);
        using GuardedTensor y = new(backend, s_y);
        (_, float[] expected) = Compute(backend, between: null);

        backend.Add(x.View, y.View);
        backend.RmsNorm(y.View, weight, 0f, 1e-5f, y.View);

        Closeness.AssertSameBits(expected, y.Read(), "norm in place");
    }

    /// <summary>Models with a norm behind each half of a layer do this: what was added is that norm's result, and the next norm's goes there.</summary>
    [StandInFact]
    public void A_norm_may_write_over_what_was_added()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using DeviceBuffer weight = Ones(backend);
        using GuardedTensor x = new(backend, s_x);
        using GuardedTensor y = new(backend, s_y);
        (float[] sum, float[] normed) = Compute(backend, between: null);
        StandIn.ResetCounters();

        backend.Add(x.View, y.View);
        backend.RmsNorm(y.View, weight, 0f, 1e-5f, x.View);

        Closeness.AssertSameBits(sum, y.Read(), "sum");
        Closeness.AssertSameBits(normed, x.Read(), "norm");
        Assert.Equal(["add_rms_norm"], StandIn.KernelRuns.Keys);
    }

    [StandInFact]
    public void Memory_may_be_given_back_before_the_operations_on_it_are_done()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        using GuardedTensor y = new(backend, s_y);
        using (GuardedTensor x = new(backend, s_x))
        {
            backend.Add(x.View, y.View);
        }

        Assert.Equal(s_x.Values.Select((value, i) => s_y.Values[i] + value), y.Read());
    }

    private static (float[] Sum, float[] Normed) Compute(CudaBackend backend, Action<TensorView, TensorView>? between)
    {
        using DeviceBuffer weight = Ones(backend);
        using GuardedTensor x = new(backend, s_x);
        using GuardedTensor y = new(backend, s_y);
        using GuardedTensor normed = new(backend, Rows, Columns);
        backend.Add(x.View, y.View);
        between?.Invoke(x.View, y.View);
        backend.RmsNorm(y.View, weight, 0f, 1e-5f, normed.View);
        return (y.Read(), normed.Read());
    }

    private static DeviceBuffer Ones(CudaBackend backend)
    {
        float[] ones = new float[Columns];
        Array.Fill(ones, 1f);
        DeviceBuffer weight = backend.Allocate(Columns * sizeof(float), "weight");
        backend.Write(ones, weight);
        return weight;
    }
}
