using InferenceServer.Cpu;
using InferenceServer.Cpu.Training;
using InferenceServer.Tensors;
using Xunit;

namespace InferenceServer.UnitTests.Training;

/// <summary>Compares gradients with finite differences: <c>(loss(x + h) - loss(x - h)) / 2h</c>, one element of x after the other.</summary>
internal sealed class GradientBench : IDisposable
{
    private const float Step = 1e-2f;
    private const double Bound = 3e-3;
    private const int MostElements = 60;

    private readonly List<DeviceBuffer> _buffers = [];

    public GradientBench(int threads = 2, int vectorBits = 0)
    {
        Backend = new CpuBackend(new CpuOptions { ThreadCount = threads, VectorBits = vectorBits, Products = CpuProducts.Vectors });
        Training = CpuTraining.Create(Backend);
    }

    public CpuBackend Backend { get; }

    public ITrainingBackend Training { get; }

    /// <summary>A matrix of numbers about N(0, scale^2); a seed of 0 gives zeros. Rows are a little longer than the columns.</summary>
    public TensorView Tensor(int rows, int columns, int seed, float scale = 1f, int padding = 3)
    {
        int stride = columns + padding;
        DeviceBuffer buffer = Backend.Allocate(Math.Max(1, (long)rows * stride) * sizeof(float), $"tensor {seed}");
        _buffers.Add(buffer);
        TensorView view = new(buffer, 0, rows, columns, stride);
        if (seed != 0)
        {
            Random random = new(seed);
            float[] values = new float[rows * stride];
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = scale * (float)(random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 2;
            }

            Backend.Write(values, buffer);
        }

        return view;
    }

    public TensorView Row(int columns, int seed, float scale = 1f) => Tensor(1, columns, seed, scale, 0);

    public float[] Read(TensorView view)
    {
        float[] values = new float[view.Rows * view.Columns];
        Backend.Read(view, values);
        return values;
    }

    /// <summary>A scalar of an output that every element of it moves: the sum of its elements times fixed weights.</summary>
    public double Weighted(TensorView y, TensorView weights)
    {
        float[] values = Read(y);
        float[] factors = Read(weights);
        double sum = 0;
        for (int i = 0; i < values.Length; i++)
        {
            sum += (double)values[i] * factors[i];
        }

        return sum;
    }

    /// <summary>Moves elements of x (all, or a fixed choice of many) and compares the change of the loss with the gradient.</summary>
    public void Check(string what, TensorView x, TensorView gradient, Func<double> loss) => Check(what, x, Read(gradient), loss);

    /// <summary>The same with a gradient already read.</summary>
    public void Check(string what, TensorView x, float[] gradient, Func<double> loss)
    {
        int count = x.Rows * x.Columns;
        int every = Math.Max(1, count / MostElements);
        float[] whole = new float[x.Buffer.ByteCount / sizeof(float)];
        Backend.Read(new TensorView(x.Buffer, 1, whole.Length), whole);
        for (int i = 0; i < count; i += every)
        {
            long at = x.Offset + ((long)(i / x.Columns) * x.RowStride) + (i % x.Columns);
            float old = whole[at];
            whole[at] = old + Step;
            Backend.Write(whole, x.Buffer);
            double above = loss();
            whole[at] = old - Step;
            Backend.Write(whole, x.Buffer);
            double below = loss();
            whole[at] = old;
            Backend.Write(whole, x.Buffer);
            double numeric = (above - below) / (2 * Step);
            Assert.True(
                Math.Abs(numeric - gradient[i]) <= Bound * (1 + Math.Abs(numeric)),
                $"{what}, element {i}: gradient {gradient[i]:g6}, finite difference {numeric:g6}");
        }
    }

    public void Dispose()
    {
        Training.Dispose();
        foreach (DeviceBuffer buffer in _buffers)
        {
            buffer.Dispose();
        }

        Backend.Dispose();
    }
}
