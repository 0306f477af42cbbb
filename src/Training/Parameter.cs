using InferenceServer.Tensors;

namespace InferenceServer.Training;

/// <summary>What a parameter is to the optimiser; LoRA+ gives each its own rate.</summary>
public enum ParameterKind
{
    /// <summary>A down projection, or anything that has no rule of its own.</summary>
    Plain,

    /// <summary>An up projection.</summary>
    Up,

    /// <summary>A factor of an embedding's low-rank change.</summary>
    Embedding,

    /// <summary>A vector: magnitudes, scales, norms, biases.</summary>
    Vector,
}

/// <summary>One matrix that training may change, f32 on the device, with its gradient.</summary>
public sealed class Parameter : IDisposable
{
    private readonly DeviceBuffer _value;
    private readonly DeviceBuffer? _gradient;

    /// <param name="backend">Where it lives.</param>
    /// <param name="parts">The tensors it holds, one below the other; most parameters have one.</param>
    /// <param name="values">Start values, row-major.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="kind">What it is to the optimiser.</param>
    /// <param name="isTrained">False for one that only takes part in the forward.</param>
    internal Parameter(
        IComputeBackend backend, IReadOnlyList<ParameterPart> parts, float[] values, int columns, ParameterKind kind, bool isTrained)
    {
        Parts = parts;
        Kind = kind;
        IsTrained = isTrained;
        int rows = values.Length / columns;
        _value = backend.Allocate((long)values.Length * sizeof(float), parts[0].Name);
        backend.Write(values, _value);
        Value = new TensorView(_value, rows, columns);
        if (isTrained)
        {
            _gradient = backend.Allocate((long)values.Length * sizeof(float), "gradient of " + parts[0].Name);
            Gradient = new TensorView(_gradient, rows, columns);
        }
    }

    /// <summary>Name of the (first) tensor in the exported file, without PEFT's prefix.</summary>
    public string Name => Parts[0].Name;

    /// <summary>The tensors of the file that it holds.</summary>
    public IReadOnlyList<ParameterPart> Parts { get; }

    public ParameterKind Kind { get; }

    public bool IsTrained { get; }

    /// <summary>The matrix.</summary>
    public TensorView Value { get; }

    /// <summary>Its gradient; only when it is trained.</summary>
    public TensorView Gradient { get; }

    /// <summary>Elements.</summary>
    public long Count => (long)Value.Rows * Value.Columns;

    /// <summary>The memory of the value, for operations that take a whole vector.</summary>
    internal DeviceBuffer ValueBuffer => _value;

    public void Dispose()
    {
        _value.Dispose();
        _gradient?.Dispose();
    }
}
