using System.Runtime.CompilerServices;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cuda.Adapters;

/// <summary>
/// A matrix of which each row, or each column, is to be a page: f32 or bf16, zeros behind the last element. Columns are how B lies, so that
/// one rank's outputs are neighbours.
/// </summary>
internal sealed unsafe class PagedRows
{
    private readonly float[] _values;
    private readonly int _columns;
    private readonly bool _isTransposed;
    private readonly DType _type;

    private PagedRows(float[] values, int rows, int columns, bool isTransposed, DType type)
    {
        _values = values;
        _columns = columns;
        _isTransposed = isTransposed;
        _type = type;
        (Count, Length) = isTransposed ? (columns, rows) : (rows, columns);
        PageBytes = PagePool.RoundUp((long)Length * ElementBytes);
    }

    /// <summary>Pages.</summary>
    public int Count { get; }

    /// <summary>Elements of a page.</summary>
    public int Length { get; }

    public long PageBytes { get; }

    private int ElementBytes => _type == DType.F32 ? sizeof(float) : sizeof(ushort);

    /// <summary>A page for each row.</summary>
    public static PagedRows Rows(HostMatrix matrix, WeightFormat format) =>
        new(matrix.Values, matrix.Rows, matrix.Columns, isTransposed: false, TypeOf(format));

    /// <summary>A page for each column.</summary>
    public static PagedRows Columns(HostMatrix matrix, WeightFormat format) =>
        new(matrix.Values, matrix.Rows, matrix.Columns, isTransposed: true, TypeOf(format));

    /// <summary>One page, f32.</summary>
    public static PagedRows Vector(float[] values) => new(values, 1, values.Length, isTransposed: false, DType.F32);

    /// <summary>Writes pages into host memory, one after the other.</summary>
    /// <param name="first">First page.</param>
    /// <param name="count">How many.</param>
    /// <param name="target"><c>count * PageBytes</c> bytes.</param>
    public void Write(int first, int count, byte* target)
    {
        if (_isTransposed)
        {
            WriteColumns(first, count, target);
        }
        else
        {
            for (int row = 0; row < count; row++)
            {
                Write(_values.AsSpan((first + row) * _columns, _columns), target + (row * PageBytes), 0);
            }
        }

        long used = (long)Length * ElementBytes;
        for (int row = 0; row < count; row++)
        {
            new Span<byte>(target + (row * PageBytes) + used, (int)(PageBytes - used)).Clear();
        }
    }

    private static DType TypeOf(WeightFormat format) => format == WeightFormat.F32 ? DType.F32 : DType.BF16;

    private void Write(ReadOnlySpan<float> source, byte* page, int element) =>
        FloatConversion.FromSingle(_type, source, new Span<byte>(page + ((long)element * ElementBytes), source.Length * ElementBytes));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void WriteColumns(int first, int count, byte* target)
    {
        // Turned over in squares that stay in the nearest cache.
        const int Side = 32;
        float* square = stackalloc float[Side * Side];
        fixed (float* values = _values)
        {
            for (int rank = 0; rank < count; rank += Side)
            {
                int ranks = Math.Min(Side, count - rank);
                for (int row = 0; row < Length; row += Side)
                {
                    int rows = Math.Min(Side, Length - row);
                    for (int i = 0; i < rows; i++)
                    {
                        float* source = values + ((long)(row + i) * _columns) + first + rank;
                        for (int j = 0; j < ranks; j++)
                        {
                            square[(j * Side) + i] = source[j];
                        }
                    }

                    for (int j = 0; j < ranks; j++)
                    {
                        Write(new ReadOnlySpan<float>(square + (j * Side), rows), target + ((rank + j) * PageBytes), row);
                    }
                }
            }
        }
    }
}
