using System.Diagnostics;

namespace InferenceServer.Tensors;

/// <summary>A row-major f32 matrix inside a <see cref="DeviceBuffer"/>; a view that owns nothing.</summary>
public readonly struct TensorView
{
    /// <param name="buffer">The memory.</param>
    /// <param name="offset">First element, counted in f32 elements from the buffer's start.</param>
    /// <param name="rows">Rows; may be 0.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="rowStride">Elements from one row to the next, at least <paramref name="columns"/>.</param>
    public TensorView(DeviceBuffer buffer, long offset, int rows, int columns, int rowStride)
    {
        Debug.Assert(rows >= 0 && columns >= 0 && rowStride >= columns, "view geometry");
        Debug.Assert(rows == 0 || (offset + ((long)(rows - 1) * rowStride) + columns) * sizeof(float) <= buffer.ByteCount, "view inside its buffer");
        Buffer = buffer;
        Offset = offset;
        Rows = rows;
        Columns = columns;
        RowStride = rowStride;
    }

    /// <summary>A dense matrix at the start of a buffer.</summary>
    public TensorView(DeviceBuffer buffer, int rows, int columns)
        : this(buffer, 0, rows, columns, columns)
    {
    }

    public DeviceBuffer Buffer { get; }

    public long Offset { get; }

    public int Rows { get; }

    public int Columns { get; }

    public int RowStride { get; }

    /// <summary>Rows <paramref name="first"/> up to <paramref name="first"/> + <paramref name="count"/>.</summary>
    public TensorView SliceRows(int first, int count)
    {
        Debug.Assert(first >= 0 && count >= 0 && first + count <= Rows, "row slice");
        return new TensorView(Buffer, Offset + ((long)first * RowStride), count, Columns, RowStride);
    }

    /// <summary>Columns <paramref name="first"/> up to <paramref name="first"/> + <paramref name="count"/>, with the same row stride.</summary>
    public TensorView SliceColumns(int first, int count)
    {
        Debug.Assert(first >= 0 && count >= 0 && first + count <= Columns, "column slice");
        return new TensorView(Buffer, Offset + first, Rows, count, RowStride);
    }
}
