using InferenceServer.Tensors;

namespace InferenceServer.Training.Methods;

/// <summary>
/// AdaLoRA's pull towards orthonormal vectors: <c>weight * mean over all A and B of |A A^T - I|_F, |B^T B - I|_F</c> (as PEFT: the length, not
/// its square). With C the difference, <c>dA = 2 C A / |C|</c> and <c>dB = 2 B C / |C|</c>.
/// </summary>
internal sealed class OrthogonalityLoss : IDisposable
{
    private readonly IComputeBackend _backend;
    private readonly ITrainingBackend _operations;
    private readonly AdaLoraMethod[] _modules;
    private readonly float _weight;
    private readonly TensorView _difference;
    private readonly float[] _values;
    private readonly int _rank;

    public OrthogonalityLoss(
        IComputeBackend backend, ITrainingBackend operations, IEnumerable<AdaLoraMethod> modules, int rank, float weight)
    {
        _backend = backend;
        _operations = operations;
        _modules = [.. modules];
        _weight = weight;
        _rank = rank;
        _values = new float[rank * rank];
        _difference = new TensorView(backend.Allocate(_values.Length * sizeof(float), "orthogonality"), rank, rank);
    }

    /// <summary>The loss; its gradient is added when asked for.</summary>
    public double Add(bool withGradients)
    {
        double sum = 0;
        foreach (AdaLoraMethod module in _modules)
        {
            _operations.MultiplyTransposed(1f, module.A.Value, module.A.Value, _difference, add: false);
            sum += FindDifference(withGradients);
            if (withGradients)
            {
                _operations.Multiply(1f, _difference, module.A.Value, module.A.Gradient, add: true);
            }

            _operations.Clear(_difference);
            _operations.AddTransposedProduct(1f, module.B.Value, module.B.Value, _difference);
            sum += FindDifference(withGradients);
            if (withGradients)
            {
                _operations.Multiply(1f, module.B.Value, _difference, module.B.Gradient, add: true);
            }
        }

        return _weight * sum / (2 * _modules.Length);
    }

    public void Dispose() => _difference.Buffer.Dispose();

    /// <summary>Subtracts I; returns the length; when wanted, leaves the difference times its part of the gradient.</summary>
    private double FindDifference(bool withGradients)
    {
        _backend.Read(_difference, _values);
        double square = 0;
        for (int i = 0; i < _values.Length; i++)
        {
            _values[i] -= i % (_rank + 1) == 0 ? 1 : 0;
            square += (double)_values[i] * _values[i];
        }

        double length = Math.Sqrt(square);
        if (withGradients)
        {
            double factor = length > 0 ? 2 * _weight / (2 * _modules.Length * length) : 0;
            for (int i = 0; i < _values.Length; i++)
            {
                _values[i] = (float)(factor * _values[i]);
            }

            _backend.Write(_values, _difference.Buffer);
        }

        return length;
    }
}
