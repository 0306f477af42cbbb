using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;

namespace InferenceServer.TestKit.Conformance;

/// <summary>What every backend's tests share. A backend's test project derives one class from each conformance class.</summary>
public abstract class BackendConformance : IDisposable
{
    protected BackendConformance() => Backend = CreateBackend(2);

    /// <summary>The backend under test, with two threads where it has threads.</summary>
    protected IComputeBackend Backend { get; }

    public virtual void Dispose()
    {
        Backend.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Makes a backend; <paramref name="threads"/> is ignored by one that has none.</summary>
    protected abstract IComputeBackend CreateBackend(int threads);

    protected static WeightMatrix Pack(IComputeBackend backend, HostTensor weight, WeightFormat format) => backend.CreateMatrix(
        weight.Rows,
        weight.Columns,
        format,
        "weight",
        (first, target) => weight.Values.AsSpan(first * weight.Columns, target.Length).CopyTo(target));

    /// <summary>The weights that a matrix stands for; what codes stand for is QuantizedConformance's to check.</summary>
    protected static HostTensor Kept(IComputeBackend backend, HostTensor weight, WeightMatrix matrix)
    {
        if (!matrix.Format.IsQuantized())
        {
            return matrix.Format == WeightFormat.F32 ? weight : weight.RoundedToBFloat16();
        }

        HostTensor kept = new(weight.Rows, weight.Columns);
        backend.ReadMatrix(matrix, 0, kept.Values);
        return kept;
    }

    protected static DeviceBuffer Upload(IComputeBackend backend, float[] values)
    {
        DeviceBuffer buffer = backend.Allocate((long)values.Length * sizeof(float), "vector");
        backend.Write(values, buffer);
        return buffer;
    }

    /// <summary>Runs an operation from x to a new [rows, columns] and reads it, all guarded.</summary>
    protected static float[] Run(IComputeBackend backend, HostTensor x, int rows, int columns, Action<TensorView, TensorView> operation)
    {
        using GuardedTensor input = new(backend, x);
        using GuardedTensor output = new(backend, rows, columns);
        operation(input.View, output.View);
        return output.Read();
    }

    /// <summary>Runs an operation in place.</summary>
    protected static float[] RunInPlace(IComputeBackend backend, HostTensor y, Action<TensorView> operation)
    {
        using GuardedTensor tensor = new(backend, y);
        operation(tensor.View);
        return tensor.Read();
    }
}
