using InferenceServer.Tensors;
using InferenceServer.Training.Methods;

namespace InferenceServer.Training.Optimisation;

/// <summary>
/// LoRA-FA's change of B's gradient: <c>s^-2 dB (A A^T + 1e-8 I)^-1</c>, the B whose product with the frozen A comes nearest to the gradient
/// of the whole weight. A never changes, so the inverses are found once.
/// </summary>
internal sealed class LoraFaProjection : IDisposable
{
    private const double Ridge = 1e-8;

    private readonly ITrainingBackend _operations;
    private readonly Dictionary<Parameter, (TensorView Inverse, TensorView Projected, float Factor)> _byParameter = [];
    private readonly List<DeviceBuffer> _buffers = [];

    public LoraFaProjection(IComputeBackend backend, ITrainingBackend operations, IEnumerable<LoraMethod> modules)
    {
        _operations = operations;
        foreach (LoraMethod module in modules)
        {
            int rank = module.A.Value.Rows;
            float[] a = new float[module.A.Count];
            backend.Read(module.A.Value, a);
            float[] inverse = Invert(Gram(a, rank), rank);
            TensorView view = Take(backend, rank, rank);
            backend.Write(inverse, view.Buffer);
            TensorView projected = Take(backend, module.B.Value.Rows, rank);
            _byParameter.Add(module.B, (view, projected, 1 / (module.Scale * module.Scale)));
        }
    }

    /// <summary>The projected gradient of a B; null for another parameter.</summary>
    public TensorView? Apply(Parameter parameter)
    {
        if (!_byParameter.TryGetValue(parameter, out (TensorView Inverse, TensorView Projected, float Factor) entry))
        {
            return null;
        }

        _operations.Multiply(entry.Factor, parameter.Gradient, entry.Inverse, entry.Projected, add: false);
        return entry.Projected;
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers)
        {
            buffer.Dispose();
        }
    }

    private TensorView Take(IComputeBackend backend, int rows, int columns)
    {
        DeviceBuffer buffer = backend.Allocate((long)rows * columns * sizeof(float), "lora-fa projection");
        _buffers.Add(buffer);
        return new TensorView(buffer, rows, columns);
    }

    private static double[] Gram(float[] a, int rank)
    {
        int columns = a.Length / rank;
        double[] gram = new double[rank * rank];
        for (int i = 0; i < rank; i++)
        {
            for (int j = 0; j < rank; j++)
            {
                double sum = i == j ? Ridge : 0;
                for (int k = 0; k < columns; k++)
                {
                    sum += (double)a[(i * columns) + k] * a[(j * columns) + k];
                }

                gram[(i * rank) + j] = sum;
            }
        }

        return gram;
    }

    /// <summary>Gauss and Jordan with row exchange; the matrix is symmetric and, by the ridge, positive.</summary>
    private static float[] Invert(double[] matrix, int size)
    {
        double[] inverse = new double[size * size];
        for (int i = 0; i < size; i++)
        {
            inverse[(i * size) + i] = 1;
        }

        for (int column = 0; column < size; column++)
        {
            int pivot = Enumerable.Range(column, size - column).MaxBy(row => Math.Abs(matrix[(row * size) + column]));
            double factor = 1 / matrix[(pivot * size) + column];
            for (int k = 0; k < size; k++)
            {
                (matrix[(column * size) + k], matrix[(pivot * size) + k]) = (matrix[(pivot * size) + k], matrix[(column * size) + k]);
                (inverse[(column * size) + k], inverse[(pivot * size) + k]) = (inverse[(pivot * size) + k], inverse[(column * size) + k]);
                matrix[(column * size) + k] *= factor;
                inverse[(column * size) + k] *= factor;
            }

            for (int row = 0; row < size; row++)
            {
                double part = row == column ? 0 : matrix[(row * size) + column];
                for (int k = 0; k < size && part != 0; k++)
                {
                    matrix[(row * size) + k] -= part * matrix[(column * size) + k];
                    inverse[(row * size) + k] -= part * inverse[(column * size) + k];
                }
            }
        }

        return [.. inverse.Select(value => (float)value)];
    }
}
