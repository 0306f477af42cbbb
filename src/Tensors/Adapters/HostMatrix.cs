using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace InferenceServer.Tensors.Adapters;

/// <summary>
/// A dense row-major matrix in host memory: f32, or the elements of a file as they are stored there, times a factor.
/// </summary>
public sealed class HostMatrix
{
    private readonly float[]? _values;
    private readonly StoredBytes? _bytes;
    private readonly long _start;

    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="values">The elements, <c>rows * columns</c> of them.</param>
    public HostMatrix(int rows, int columns, float[] values)
    {
        Rows = rows;
        Columns = columns;
        Type = DType.F32;
        Factor = 1;
        _values = values;
    }

    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="bytes">The file; whoever disposes it ends the life of this matrix.</param>
    /// <param name="start">Where in it the elements begin.</param>
    /// <param name="type">How they are stored: F32, F16 or BF16.</param>
    /// <param name="factor">Multiplies each, in f32.</param>
    public HostMatrix(int rows, int columns, StoredBytes bytes, long start, DType type, float factor)
    {
        ArgumentNullException.ThrowIfNull(bytes);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start + ((long)rows * columns * type.ByteSize()), bytes.ByteCount);
        Rows = rows;
        Columns = columns;
        Type = type;
        Factor = factor;
        _bytes = bytes;
        _start = start;
    }

    /// <summary>Rows.</summary>
    public int Rows { get; }

    /// <summary>Columns.</summary>
    public int Columns { get; }

    /// <summary>How the elements are stored.</summary>
    public DType Type { get; }

    /// <summary>Multiplies what is stored.</summary>
    public float Factor { get; }

    /// <summary>The elements as f32; made anew at each call when the matrix is still as a file stores it.</summary>
    public float[] Values
    {
        get
        {
            if (_values is not null)
            {
                return _values;
            }

            float[] values = GC.AllocateUninitializedArray<float>(checked(Rows * Columns));
            Read(0, values);
            return values;
        }
    }

    /// <summary>Whether the elements still lie in a file's bytes.</summary>
    public bool IsStored => _bytes is not null;

    /// <summary>Number of elements.</summary>
    public long ElementCount => _values?.Length ?? ((long)Rows * Columns);

    /// <summary>Bytes of the elements as f32, which is the most that they take.</summary>
    public long ByteCount => ElementCount * sizeof(float);

    /// <summary>The elements as they are stored, without <see cref="Factor"/>; not to be used once the file's bytes are gone.</summary>
    /// <param name="first">First element, in row-major order.</param>
    /// <param name="count">Number of elements.</param>
    public ReadOnlySpan<byte> Stored(long first, int count) => _values is not null
        ? MemoryMarshal.AsBytes(_values.AsSpan((int)first, count))
        : _bytes!.Slice(_start + (first * Type.ByteSize()), count * Type.ByteSize());

    /// <summary>Elements as f32.</summary>
    /// <param name="first">First element, in row-major order.</param>
    /// <param name="destination">Receives <c>destination.Length</c> of them.</param>
    public void Read(long first, Span<float> destination)
    {
        FloatConversion.ToSingle(Type, Stored(first, destination.Length), destination);
        if (Factor != 1)
        {
            TensorPrimitives.Multiply(destination, Factor, destination);
        }

        GC.KeepAlive(this);
    }

    /// <summary>One row as f32.</summary>
    public ReadOnlySpan<float> Row(int row)
    {
        if (_values is not null)
        {
            return _values.AsSpan(row * Columns, Columns);
        }

        float[] values = new float[Columns];
        Read((long)row * Columns, values);
        return values;
    }
}
