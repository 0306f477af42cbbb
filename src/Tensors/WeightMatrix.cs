namespace InferenceServer.Tensors;

/// <summary>Fills rows <c>first .. first + destination.Length / columns</c> of a weight matrix, row-major f32.</summary>
public delegate void WeightRowReader(int firstRow, Span<float> destination);

/// <summary>
/// A frozen matrix <c>[out, in]</c> in the layout that its backend multiplies fastest; made by
/// <see cref="IComputeBackend.CreateMatrix"/>, read back with <see cref="IComputeBackend.ReadMatrix"/>.
/// </summary>
public abstract class WeightMatrix : IDisposable
{
    protected WeightMatrix(int rows, int columns, WeightFormat format, string label)
    {
        Rows = rows;
        Columns = columns;
        Format = format;
        Label = label;
    }

    /// <summary>Output features (rows as in safetensors).</summary>
    public int Rows { get; }

    /// <summary>Input features.</summary>
    public int Columns { get; }

    public WeightFormat Format { get; }

    public string Label { get; }

    /// <summary>Bytes held on the device, padding included.</summary>
    public abstract long ByteCount { get; }

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
