using InferenceServer.Cuda;
using InferenceServer.Tensors;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda;

/// <summary>Results of kernels do not depend on which thread goes first.</summary>
[Collection(StandInCollection.Name)]
public sealed class ScheduleTests
{
    [StandInFact]
    public void Norms_have_the_same_bits_under_every_schedule()
    {
        using CudaBackend backend = CudaTestBackend.Create();
        HostTensor x = HostTensor.Random(5, 1001, 1);
        using DeviceBuffer weight = backend.Allocate(1001 * sizeof(float), "weight");
        backend.Write(HostTensor.Random(1, 1001, 2).Values, weight);

        float[] normed = Schedules.SameBitsUnderAll(() =>
        {
            using GuardedTensor input = new(backend, x);
            using GuardedTensor output = new(backend, 5, 1001);
            backend.RmsNorm(input.View, weight, 0, 1e-5f, output.View);
            return output.Read();
        });

        double[] expected = new double[normed.Length];
        for (int i = 0; i < expected.Length; i++)
        {
            int row = i / 1001;
            double square = x.Values.Skip(row * 1001).Take(1001).Average(value => (double)value * value);
            expected[i] = x.Values[i] / Math.Sqrt(square + 1e-5f) * HostTensor.Random(1, 1001, 2).Values[i % 1001];
        }

        Closeness.AssertClose(expected, normed, 1e-6, "rms norm");
    }
}
