using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Training;

/// <summary>
/// <c>loss[t] = log(sum_j e^(x[t, j] - max)) + max - x[t, label]</c> and <c>dx = factor (softmax(x) - onehot(label))</c>, one pass over
/// the row for both. Rows in parallel; the losses are added in row order.
/// </summary>
internal sealed unsafe class CrossEntropy : ParallelJob
{
    private const long SerialLimit = 1 << 14;

    private readonly WorkerPool _pool;
    private int[] _labels = [];
    private double[] _losses = [];
    private Rows _logits;
    private Rows _gradient;
    private float _factor;
    private int _columns;

    public CrossEntropy(WorkerPool pool) => _pool = pool;

    public double Run(Rows logits, ReadOnlySpan<int> labels, float factor, Rows gradient, int columns)
    {
        if (_labels.Length < labels.Length)
        {
            _labels = new int[labels.Length];
            _losses = new double[labels.Length];
        }

        labels.CopyTo(_labels);
        _logits = logits;
        _factor = factor;
        _gradient = gradient;
        _columns = columns;
        _pool.Run(this, labels.Length, (long)labels.Length * columns >= SerialLimit);
        double sum = 0;
        for (int row = 0; row < labels.Length; row++)
        {
            sum += _losses[row];
        }

        return sum;
    }

    public override void Execute(int item, int worker)
    {
        ReadOnlySpan<float> logits = new(_logits.At(item), _columns);
        Span<float> gradient = new(_gradient.At(item), _columns);
        int label = _labels[item];
        _losses[item] = 0;
        if (label == ITrainingBackend.IgnoredLabel)
        {
            gradient.Clear();
            return;
        }

        // The logits may be overwritten by their gradient: what the loss needs of them comes first.
        float max = TensorPrimitives.Max(logits);
        float wanted = logits[label];
        TensorPrimitives.Subtract(logits, max, gradient);
        TensorPrimitives.Exp(gradient, gradient);
        float sum = TensorPrimitives.Sum<float>(gradient);
        _losses[item] = Math.Log(sum) + max - wanted;
        TensorPrimitives.Multiply(gradient, _factor / sum, gradient);
        gradient[label] -= _factor;
    }
}
