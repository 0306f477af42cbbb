using System.Buffers;
using System.Runtime.ExceptionServices;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Weights;

/// <summary>A weight matrix on the device, in the layout of its format.</summary>
internal sealed unsafe partial class CudaWeightMatrix : WeightMatrix
{
    // Rows are read and packed in pieces of so many bytes on each processor, at least a unit.
    private const int PieceBytes = 4 << 20;

    private readonly CudaMachine _machine;
    private readonly CudaBuffer _buffer;

    private CudaWeightMatrix(CudaMachine machine, WeightLayout layout, WeightFormat format, string label)
        : base(layout.Rows, layout.Columns, format, label)
    {
        _machine = machine;
        Layout = layout;
        _buffer = new CudaBuffer(machine.Device, layout.ByteCount, label);
    }

    public override long ByteCount => _buffer.ByteCount;

    public WeightLayout Layout { get; }

    /// <summary>Where the units begin.</summary>
    public ulong Address => _buffer.Address;

    /// <summary>Where the scales begin.</summary>
    public ulong ScaleAddress => _buffer.Address + (ulong)Layout.WeightBytes;

    /// <summary>The CUDA form of a matrix.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CudaWeightMatrix Of(WeightMatrix matrix) =>
        matrix as CudaWeightMatrix ?? throw new ArgumentException($"matrix '{matrix.Label}' belongs to another backend");

    /// <summary>Reads, packs and copies all rows, by all processors; any thread.</summary>
    public static CudaWeightMatrix Pack(CudaMachine machine, int rows, int columns, WeightFormat format, string label, WeightRowReader reader)
    {
        if (rows < 1 || columns < 1)
        {
            throw new ArgumentException($"shape [{rows}, {columns}] of '{label}' is empty");
        }

        // The rows of one unit are read into one array, the scales of all into another.
        WeightLayout layout = WeightLayout.Create(rows, columns, format, label);
        long scaleBytes = layout.UnitCount * layout.UnitScaleBytes;
        if ((long)columns * WeightLayout.UnitRows > Array.MaxLength || layout.UnitBytes > Array.MaxLength || scaleBytes > Array.MaxLength)
        {
            throw new ArgumentException($"[{rows}, {columns}] of '{label}' is too large for one matrix");
        }

        CudaWeightMatrix matrix = new(machine, layout, format, label);
        try
        {
            byte[] scales = new byte[scaleBytes];
            int pieceUnits = (int)Math.Max(1, PieceBytes / ((long)WeightLayout.UnitRows * columns * sizeof(float)));
            Parallel.For(0, (layout.UnitCount + pieceUnits - 1) / pieceUnits, piece => matrix.PackPiece(piece * pieceUnits, pieceUnits, scales, reader));
            layout.Finish(scales);
            matrix.Write(scales, matrix.ScaleAddress);
            return matrix;
        }
        catch (AggregateException error)
        {
            // Pieces are packed by several threads; the first problem is the one to tell.
            matrix.Dispose();
            ExceptionDispatchInfo.Throw(error.InnerExceptions[0]);
            throw;
        }
        catch
        {
            matrix.Dispose();
            throw;
        }
    }

    /// <summary>A matrix of zeros, to be filled on the device; any thread.</summary>
    public static CudaWeightMatrix Zeros(CudaMachine machine, int rows, int columns, WeightFormat format, string label)
    {
        CudaWeightMatrix matrix = new(machine, WeightLayout.Create(rows, columns, format, label), format, label);
        try
        {
            machine.Copies.Clear(matrix._buffer);
            return matrix;
        }
        catch
        {
            matrix.Dispose();
            throw;
        }
    }

    /// <summary>Unpacks rows into host memory; any thread.</summary>
    public void ReadRows(int firstRow, Span<float> destination)
    {
        int end = firstRow + (destination.Length / Columns);
        int pieceUnits = (int)Math.Max(1, PieceBytes / Layout.UnitBytes);
        byte[] units = ArrayPool<byte>.Shared.Rent((int)(pieceUnits * Layout.UnitBytes));
        byte[] scales = ArrayPool<byte>.Shared.Rent((int)(pieceUnits * Layout.UnitScaleBytes));
        try
        {
            for (int row = firstRow; row < end;)
            {
                int firstUnit = row / WeightLayout.UnitRows;
                int count = Math.Min(pieceUnits, Grid.Cover(end, WeightLayout.UnitRows) - firstUnit);
                ReadBytes(firstUnit * Layout.UnitBytes, units.AsSpan(0, (int)(count * Layout.UnitBytes)));
                ReadBytes(Layout.WeightBytes + (firstUnit * Layout.UnitScaleBytes), scales.AsSpan(0, (int)(count * Layout.UnitScaleBytes)));
                for (; row < Math.Min(end, (firstUnit + count) * WeightLayout.UnitRows); row++)
                {
                    int unit = (row / WeightLayout.UnitRows) - firstUnit;
                    Layout.ReadRow(
                        units.AsSpan((int)(unit * Layout.UnitBytes), (int)Layout.UnitBytes),
                        scales.AsSpan((int)(unit * Layout.UnitScaleBytes), (int)Layout.UnitScaleBytes),
                        row % WeightLayout.UnitRows,
                        destination.Slice((row - firstRow) * Columns, Columns));
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(units);
            ArrayPool<byte>.Shared.Return(scales);
        }
    }

    /// <summary>Whether both hold the same bits.</summary>
    public bool HasSameBits(CudaWeightMatrix other)
    {
        if (Rows != other.Rows || Columns != other.Columns || Format != other.Format)
        {
            return false;
        }

        byte[] own = ArrayPool<byte>.Shared.Rent(PieceBytes);
        byte[] theirs = ArrayPool<byte>.Shared.Rent(PieceBytes);
        try
        {
            bool isSame = true;
            for (long at = 0; isSame && at < ByteCount; at += PieceBytes)
            {
                int length = (int)Math.Min(PieceBytes, ByteCount - at);
                ReadBytes(at, own.AsSpan(0, length));
                other.ReadBytes(at, theirs.AsSpan(0, length));
                isSame = own.AsSpan(0, length).SequenceEqual(theirs.AsSpan(0, length));
            }

            return isSame;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(own);
            ArrayPool<byte>.Shared.Return(theirs);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _buffer.Dispose();
        }
    }

    private void PackPiece(int firstUnit, int unitCount, byte[] scales, WeightRowReader reader)
    {
        unitCount = Math.Min(unitCount, Layout.UnitCount - firstUnit);
        int firstRow = firstUnit * WeightLayout.UnitRows;
        int rows = Math.Min(unitCount * WeightLayout.UnitRows, Rows - firstRow);
        float[] read = ArrayPool<float>.Shared.Rent(rows * Columns);
        byte[] packed = ArrayPool<byte>.Shared.Rent((int)(unitCount * Layout.UnitBytes));
        try
        {
            Span<float> weights = read.AsSpan(0, rows * Columns);
            reader(firstRow, weights);
            Span<byte> target = packed.AsSpan(0, (int)(unitCount * Layout.UnitBytes));
            target.Clear();
            PackRows(weights, target, scales.AsSpan((int)(firstUnit * Layout.UnitScaleBytes), (int)(unitCount * Layout.UnitScaleBytes)));
            Write(target, Address + (ulong)(firstUnit * Layout.UnitBytes));
        }
        finally
        {
            ArrayPool<float>.Shared.Return(read);
            ArrayPool<byte>.Shared.Return(packed);
        }
    }

    private void PackRows(ReadOnlySpan<float> weights, Span<byte> target, Span<byte> scales)
    {
        try
        {
            for (int row = 0; row * Columns < weights.Length; row++)
            {
                int unit = row / WeightLayout.UnitRows;
                Layout.PackRow(
                    weights.Slice(row * Columns, Columns),
                    row % WeightLayout.UnitRows,
                    target.Slice((int)(unit * Layout.UnitBytes), (int)Layout.UnitBytes),
                    scales.Slice((int)(unit * Layout.UnitScaleBytes), (int)Layout.UnitScaleBytes));
            }
        }
        catch (InvalidDataException error)
        {
            throw new InvalidDataException($"'{Label}': {error.Message}", error);
        }
    }

    private void Write(ReadOnlySpan<byte> source, ulong target)
    {
        fixed (byte* first = source)
        {
            _machine.Copies.ToDevice(first, source.Length, target);
        }
    }

    private void ReadBytes(long offset, Span<byte> target)
    {
        fixed (byte* first = target)
        {
            _machine.Copies.ToHost(Address + (ulong)offset, target.Length, first);
        }
    }
}
