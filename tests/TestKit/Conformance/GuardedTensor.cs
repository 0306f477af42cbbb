using InferenceServer.Tensors;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>
/// A view in the middle of a larger buffer: rows before and after it and columns beside it hold NaN. An operation that reads outside
/// spoils its result, one that writes outside is caught by <see cref="Read"/>.
/// </summary>
public sealed class GuardedTensor : IDisposable
{
    private const int GuardRows = 2;
    private const int GuardColumns = 5;

    // A NaN that no arithmetic makes.
    private static readonly float s_guard = BitConverter.UInt32BitsToSingle(0x7fc0dead);

    private readonly IComputeBackend _backend;
    private readonly DeviceBuffer _buffer;
    private readonly int _stride;

    public GuardedTensor(IComputeBackend backend, HostTensor content)
        : this(backend, content.Rows, content.Columns)
    {
        float[] all = Everything();
        for (int row = 0; row < content.Rows; row++)
        {
            content.Row(row).CopyTo(all.AsSpan(((GuardRows + row) * _stride) + GuardColumns));
        }

        backend.Write(all, _buffer);
    }

    /// <summary>For results: the view holds guards too, so that an element not written shows.</summary>
    public GuardedTensor(IComputeBackend backend, int rows, int columns)
    {
        _backend = backend;
        _stride = columns + (2 * GuardColumns);
        _buffer = backend.Allocate((long)(rows + (2 * GuardRows)) * _stride * sizeof(float), "guarded tensor");
        View = new TensorView(_buffer, ((long)GuardRows * _stride) + GuardColumns, rows, columns, _stride);
        float[] all = new float[(rows + (2 * GuardRows)) * _stride];
        Array.Fill(all, s_guard);
        backend.Write(all, _buffer);
    }

    public TensorView View { get; }

    /// <summary>The view's elements; fails when anything around them was written.</summary>
    public float[] Read()
    {
        float[] all = Everything();
        float[] content = new float[View.Rows * View.Columns];
        for (int i = 0; i < all.Length; i++)
        {
            int row = (i / _stride) - GuardRows;
            int column = (i % _stride) - GuardColumns;
            if (row >= 0 && row < View.Rows && column >= 0 && column < View.Columns)
            {
                content[(row * View.Columns) + column] = all[i];
            }
            else if (BitConverter.SingleToUInt32Bits(all[i]) != BitConverter.SingleToUInt32Bits(s_guard))
            {
                Assert.Fail($"an operation wrote {all[i]} outside its view, at row {row}, column {column} of [{View.Rows}, {View.Columns}]");
            }
        }

        return content;
    }

    public void Dispose() => _buffer.Dispose();

    private float[] Everything()
    {
        float[] all = new float[(View.Rows + (2 * GuardRows)) * _stride];
        _backend.Read(new TensorView(_buffer, View.Rows + (2 * GuardRows), _stride), all);
        return all;
    }
}
