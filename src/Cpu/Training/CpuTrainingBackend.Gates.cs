using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Training;

/// <content>The gates of routed adapters. Rows of a few elements: one thread, one row after the other.</content>
internal sealed unsafe partial class CpuTrainingBackend<TSimd, TVector>
{
    public void GateSoftmax(TensorView x, TensorView? bias, float temperature, int topK, TensorView y)
    {
        TrainingOperationChecks.GateSoftmax(x, bias, topK, y);
        Rows scores = new(x);
        Rows weights = new(y);
        float* added = bias is { } row ? CpuBuffer.PointerOf(row) : null;
        for (int t = 0; t < x.Rows; t++)
        {
            Kernels.GateSoftmax.Apply(scores.At(t), added, x.Columns, temperature, topK, weights.At(t));
        }

        KeepAlive(x, bias ?? x, y);
    }

    public void GateSoftmaxBackward(TensorView y, float temperature, TensorView dy, TensorView dx)
    {
        TrainingOperationChecks.GateSoftmaxBackward(y, dy, dx);
        Rows weights = new(y);
        Rows gradients = new(dy);
        Rows results = new(dx);
        for (int t = 0; t < y.Rows; t++)
        {
            float* weight = weights.At(t);
            float* gradient = gradients.At(t);
            float* result = results.At(t);
            float mean = 0;
            for (int i = 0; i < y.Columns; i++)
            {
                mean += weight[i] * gradient[i];
            }

            for (int i = 0; i < y.Columns; i++)
            {
                result[i] = weight[i] * (gradient[i] - mean) / temperature;
            }
        }

        KeepAlive(y, dy, dx);
    }

    public void ScaleBlocks(TensorView x, TensorView factors, ReadOnlySpan<int> sizes, TensorView y)
    {
        TrainingOperationChecks.Same(x, y, nameof(ScaleBlocks));
        TrainingOperationChecks.Blocks(x, factors, sizes, nameof(ScaleBlocks));
        Rows from = new(x);
        Rows weights = new(factors);
        Rows to = new(y);
        for (int t = 0; t < x.Rows; t++)
        {
            int first = 0;
            for (int i = 0; i < sizes.Length; i++)
            {
                ReadOnlySpan<float> block = new(from.At(t) + first, sizes[i]);
                TensorPrimitives.Multiply(block, weights.At(t)[i], new Span<float>(to.At(t) + first, sizes[i]));
                first += sizes[i];
            }
        }

        KeepAlive(x, factors, y);
    }

    public void BlockProducts(TensorView x, TensorView z, ReadOnlySpan<int> sizes, TensorView y)
    {
        TrainingOperationChecks.Same(x, z, nameof(BlockProducts));
        TrainingOperationChecks.Blocks(x, y, sizes, nameof(BlockProducts));
        Rows left = new(x);
        Rows right = new(z);
        Rows sums = new(y);
        for (int t = 0; t < x.Rows; t++)
        {
            int first = 0;
            for (int i = 0; i < sizes.Length; i++)
            {
                sums.At(t)[i] = TensorPrimitives.Dot(
                    new ReadOnlySpan<float>(left.At(t) + first, sizes[i]), new ReadOnlySpan<float>(right.At(t) + first, sizes[i]));
                first += sizes[i];
            }
        }

        KeepAlive(x, z, y);
    }
}
