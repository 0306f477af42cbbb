using InferenceServer.Cuda;
using InferenceServer.Cuda.Training;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Conformance;
using InferenceServer.TestKit.Cuda;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.KernelTests.Cuda.Training;

/// <summary>Gradients do not depend on which thread goes first: the same run has the same bits.</summary>
[Collection(StandInCollection.Name)]
public sealed class TrainingScheduleTests
{
    [StandInTheory]
    [InlineData(CudaProducts.Exact)]
    [InlineData(CudaProducts.Auto)]
    public void Gradients_have_the_same_bits_under_every_schedule(CudaProducts products)
    {
        using CudaBackend backend = CudaTestBackend.Create(products);
        using ITrainingBackend training = CudaTraining.Create(backend);

        Schedules.SameBitsUnderAll(() => Gradients(backend, training));
    }

    private static float[] Gradients(CudaBackend backend, ITrainingBackend training)
    {
        const int Rows = 70;
        AttentionParameters parameters = new(2, 1, 32, 0.25f, 0, 0);
        using GuardedTensor q = new(backend, HostTensor.Random(Rows, 64, 1));
        using GuardedTensor k = new(backend, HostTensor.Random(Rows, 32, 2));
        using GuardedTensor v = new(backend, HostTensor.Random(Rows, 32, 3));
        using GuardedTensor dy = new(backend, HostTensor.Random(Rows, 64, 4));
        using GuardedTensor dq = new(backend, new HostTensor(Rows, 64));
        using GuardedTensor dk = new(backend, new HostTensor(Rows, 32));
        using GuardedTensor dv = new(backend, new HostTensor(Rows, 32));
        using GuardedTensor dw = new(backend, new HostTensor(64, 16));
        using GuardedTensor sums = new(backend, new HostTensor(1, 64));
        using GuardedTensor table = new(backend, new HostTensor(5, 64));
        using GuardedTensor logits = new(backend, HostTensor.Random(Rows, 64, 6));
        using DeviceBuffer weight = backend.Allocate(64 * sizeof(float), "weight");
        backend.Write(HostTensor.Random(1, 64, 5).Values, weight);
        int[] tokens = [.. Enumerable.Range(0, Rows).Select(t => t * 3 % 5)];

        training.AttentionBackward(
            q.View, k.View, v.View, [new StepSequence(0, 30, 0, 0), new StepSequence(30, 40, 0, 0)], parameters, dy.View, dq.View, dk.View, dv.View);
        training.AddTransposedProduct(1f, dq.View, q.View.SliceColumns(0, 16), dw.View);
        training.RmsNormBackward(q.View, weight, 0f, 1e-5f, dy.View, dq.View, sums.View);
        training.LayerNormBackward(q.View, weight, 1e-5f, dy.View, dq.View, sums.View, sums.View);
        training.ScatterRows(dq.View, tokens, table.View);
        double loss = training.CrossEntropy(logits.View, tokens, 1f, logits.View);
        double length = training.SumOfSquares([dq.View]);

        return [.. dq.Read(), .. dk.Read(), .. dv.Read(), .. dw.Read(), .. sums.Read(), .. table.Read(), .. logits.Read(), (float)loss, (float)length];
    }
}
