using InferenceServer.Cuda;
using InferenceServer.Cuda.Training;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Training;

/// <summary>Back through attention by tensor cores: the exact kernels' gradients, but for what rounding weights and their gradients to bf16 does.</summary>
[Collection(StandInCollection.Name)]
public sealed class TensorCoreAttentionTests
{
    // 2^-9 a number, and sums of dozens of them.
    private const double Bound = 3e-3;

    private static readonly int[] s_lengths = [1, 37, 130];

    [StandInTheory]
    [InlineData(2, 1, 32, 0, 0f)]
    [InlineData(2, 2, 64, 70, 0f)]
    [InlineData(1, 1, 128, 20, 3f)]
    [InlineData(1, 1, 96, 0, 0f)]
    [InlineData(1, 1, 256, 0, 0f)]
    public void Gradients_are_those_of_rounded_queries_keys_and_values(int heads, int kvHeads, int headSize, int window, float softCap)
    {
        AttentionParameters parameters = new(heads, kvHeads, headSize, 1 / MathF.Sqrt(headSize), softCap, window);

        float[][] exact = Gradients(CudaProducts.Exact, parameters);
        float[][] fast = Gradients(CudaProducts.Auto, parameters);

        foreach ((float[] expected, float[] actual, string what) in exact.Zip(fast, ["dq", "dk", "dv"]))
        {
            Closeness.AssertClose([.. expected.Select(value => (double)value)], actual, Bound, what);
        }
    }

    private static float[][] Gradients(CudaProducts products, AttentionParameters parameters)
    {
        using CudaBackend backend = CudaTestBackend.Create(products);
        using ITrainingBackend training = CudaTraining.Create(backend);
        int rows = s_lengths.Sum();
        int columns = parameters.Heads * parameters.HeadSize;
        int kvColumns = parameters.KvHeads * parameters.HeadSize;
        using GuardedTensor q = new(backend, HostTensor.Random(rows, columns, 1, 2).RoundedToBFloat16());
        using GuardedTensor k = new(backend, HostTensor.Random(rows, kvColumns, 2, 2).RoundedToBFloat16());
        using GuardedTensor v = new(backend, HostTensor.Random(rows, kvColumns, 3).RoundedToBFloat16());
        using GuardedTensor dy = new(backend, HostTensor.Random(rows, columns, 4).RoundedToBFloat16());
        using GuardedTensor dq = new(backend, new HostTensor(rows, columns));
        using GuardedTensor dk = new(backend, new HostTensor(rows, kvColumns));
        using GuardedTensor dv = new(backend, new HostTensor(rows, kvColumns));
        int first = 0;
        StepSequence[] sequences = [.. s_lengths.Select(length => new StepSequence((first += length) - length, length, 0, 0))];

        training.AttentionBackward(q.View, k.View, v.View, sequences, parameters, dy.View, dq.View, dk.View, dv.View);

        return [dq.Read(), dk.Read(), dv.Read()];
    }
}
