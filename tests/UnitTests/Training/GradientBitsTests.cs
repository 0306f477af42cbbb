using System.Runtime.Intrinsics;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;
using InferenceServer.TestKit.Golden;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>Gradients of the CPU do not depend on how it computes them.</summary>
[Trait("Category", "Training")]
public sealed class GradientBitsTests
{
    [Fact]
    public void One_thread_and_many_give_the_same_bits()
    {
        Assert.Equal(Gradients(1, 0), Gradients(5, 0));
    }

    [Theory]
    [InlineData(128)]
    [InlineData(256)]
    [InlineData(512)]
    public void Every_vector_width_gives_the_same_gradients(int bits)
    {
        int widest = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : Vector128.IsHardwareAccelerated ? 128 : 32;
        float[] expected = Gradients(2, 32);

        // A width that this processor lacks is that of the widest it has.
        float[] actual = Gradients(2, Math.Min(bits, widest));

        Tolerance.AssertClose(expected, actual, 1e-5, $"{bits} bits");
    }

    private static float[] Gradients(int threads, int bits)
    {
        using GradientBench bench = new(threads, bits);
        AttentionParameters parameters = new(8, 4, 16, 0.25f, 0, 0);
        StepInputs step = Step([70, 31], 128);
        TensorView q = bench.Tensor(101, 128, 1);
        TensorView k = bench.Tensor(101, 64, 2);
        TensorView v = bench.Tensor(101, 64, 3);
        TensorView dy = bench.Tensor(101, 128, 4);
        TensorView dq = bench.Tensor(101, 128, 0);
        TensorView dk = bench.Tensor(101, 64, 0);
        TensorView dv = bench.Tensor(101, 64, 0);
        TensorView dw = bench.Tensor(128, 128, 0);
        TensorView norm = bench.Row(128, 0);
        bench.Training.AttentionBackward(q, k, v, step.Sequences, parameters, dy, dq, dk, dv);
        bench.Training.AddTransposedProduct(1f, dq, q, dw);
        bench.Training.GatedActivationBackward(q, Activation.Silu, dk, dw.SliceRows(0, 101));
        bench.Training.ActivationBackward(q, Activation.Gelu, dq);
        bench.Training.RmsNormBackward(q, bench.Row(128, 6).Buffer, 0f, 1e-5f, dq, dy, norm);
        return [.. bench.Read(dq), .. bench.Read(dk), .. bench.Read(dv), .. bench.Read(dw), .. bench.Read(dy), .. bench.Read(norm)];
    }

    private static StepInputs Step(int[] lengths, int blockSize)
    {
        StepInputs step = new(Math.Max(lengths.Sum(), 1), lengths.Length);
        for (int i = 0; i < lengths.Length; i++)
        {
            Assert.True(lengths[i] <= blockSize);
            step.AddSequence(new int[lengths[i]], 0, [i]);
        }

        return step;
    }
}
