using System.Buffers;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Training;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Packed;

namespace InferenceServer.Cpu.Weights;

/// <summary>A weight matrix in panels; see <see cref="PanelLayout"/> and <see cref="QuantizedPanels"/>.</summary>
internal sealed unsafe partial class CpuWeightMatrix : WeightMatrix
{
    private readonly NativeBlock _block;

    private CpuWeightMatrix(int rows, int columns, WeightFormat format, string label, bool hugePages, MappedBytes? mapped = null)
        : base(rows, columns, format, label)
    {
        Quantized = format switch
        {
            WeightFormat.Int8 => new Int8Panels(rows, columns),
            WeightFormat.NF4 => new NF4Panels(rows, columns),
            _ => null,
        };
        PanelBytes = format switch
        {
            WeightFormat.F32 => PanelLayout.F32PanelBytes(columns),
            WeightFormat.BF16 => PanelLayout.BF16PanelBytes(columns),
            _ when Quantized is not null => Quantized.PanelBytes,
            _ => throw new ArgumentOutOfRangeException(nameof(format), format, $"weight format of '{label}'"),
        };
        _block = mapped is null
            ? new NativeBlock(PanelBytes * PanelCount, label, hugePages)
            : new NativeBlock(mapped, Math.Min(PanelBytes * PanelCount, mapped.ByteCount));
    }

    public override long ByteCount => _block.ByteCount;

    /// <summary>Panels of 32 outputs.</summary>
    public int PanelCount => PanelLayout.PanelCount(Rows);

    public long PanelBytes { get; }

    /// <summary>How panels hold codes and scales; null when they hold the weights themselves.</summary>
    public QuantizedPanels? Quantized { get; }

    /// <summary>Reads and packs all rows, with up to <paramref name="threads"/> panels at once.</summary>
    public static CpuWeightMatrix Pack(int rows, int columns, WeightFormat format, string label, WeightRowReader reader, int threads, bool hugePages = true)
    {
        if (rows < 1 || columns < 1)
        {
            throw new ArgumentException($"shape [{rows}, {columns}] of '{label}' is empty");
        }

        // The rows of one panel are read into one array.
        if ((long)columns * PanelLayout.Width > Array.MaxLength)
        {
            throw new ArgumentException($"{columns} columns of '{label}' exceed {Array.MaxLength / PanelLayout.Width}");
        }

        CpuWeightMatrix matrix = new(rows, columns, format, label, hugePages);
        try
        {
            if (threads == 1)
            {
                for (int panel = 0; panel < matrix.PanelCount; panel++)
                {
                    matrix.PackPanel(panel, reader);
                }
            }
            else
            {
                ParallelOptions options = new() { MaxDegreeOfParallelism = threads };
                Parallel.For(0, matrix.PanelCount, options, panel => matrix.PackPanel(panel, reader));
            }

            matrix.Quantized?.Finish(matrix._block);
        }
        catch (Exception error) when (matrix.Quantized is not null && RefusedWeight(error) is { } refused)
        {
            matrix.Dispose();
            throw new InvalidDataException($"'{label}': {refused.Message}", refused);
        }
        catch
        {
            matrix.Dispose();
            throw;
        }

        return matrix;
    }

    /// <summary>The CPU form of a matrix.</summary>
    /// <exception cref="ArgumentException">Another backend made it.</exception>
    public static CpuWeightMatrix Of(WeightMatrix matrix) =>
        matrix as CpuWeightMatrix ?? throw new ArgumentException($"matrix '{matrix.Label}' belongs to another backend");

    /// <summary>First byte of a panel.</summary>
    public byte* Panel(int panel) => _block.Pointer + (panel * PanelBytes);

    /// <summary>Unpacks one row.</summary>
    /// <param name="row">Row, below <see cref="WeightMatrix.Rows"/>.</param>
    /// <param name="target"><see cref="WeightMatrix.Columns"/> floats.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void ReadRow(int row, float* target)
    {
        // The index stays inside the panel: row % 32 is a column of it and k is below its depth.
        byte* panel = Panel(row / PanelLayout.Width);
        int column = row % PanelLayout.Width;
        if (Quantized is not null)
        {
            Quantized.ReadRow(row / PanelLayout.Width, panel, column, target);
            return;
        }

        if (Format == WeightFormat.F32)
        {
            float* source = (float*)panel + column;
            for (int k = 0; k < Columns; k++)
            {
                target[k] = source[(nint)k * PanelLayout.Width];
            }

            return;
        }

        byte* tile = panel + PanelLayout.BF16ColumnOffset(column);
        for (int k = 0; k < Columns; k++)
        {
            target[k] = BFloat16.ToSingle(*(ushort*)(tile + BF16DepthOffset(k)));
        }
    }

    /// <summary>Unpacks a block of a matrix, row by row: the form in which gradients are multiplied by it.</summary>
    /// <param name="firstRow">First row; a multiple of 32.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="firstColumn">First column; even.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="target">Receives <paramref name="rows"/> rows.</param>
    /// <param name="stride">Floats from one row of the target to the next.</param>
    public void ReadBlock(int firstRow, int rows, int firstColumn, int columns, float* target, nint stride)
    {
        for (int done = 0; done < rows; done += PanelLayout.Width)
        {
            // The last panel is padded, so reading its columns up to the block's rows stays inside it.
            byte* panel = Panel((firstRow + done) / PanelLayout.Width);
            int count = Math.Min(PanelLayout.Width, rows - done);
            float* to = target + (done * stride);
            if (Quantized is not null)
            {
                Quantized.ReadBlock((firstRow + done) / PanelLayout.Width, panel, count, firstColumn, columns, to, stride);
            }
            else if (Format == WeightFormat.F32)
            {
                float* source = (float*)panel + ((nint)firstColumn * PanelLayout.Width);
                TransposeBlock.Run(source, PanelLayout.Width, columns, count, to, stride);
            }
            else
            {
                ReadBF16(panel, count, firstColumn, columns, to, stride);
            }
        }
    }

    /// <summary>Whether both hold the same bits.</summary>
    public bool HasSameBits(CpuWeightMatrix other)
    {
        if (Rows != other.Rows || Columns != other.Columns || Format != other.Format)
        {
            return false;
        }

        const int Piece = 1 << 30;
        for (long at = 0; at < _block.ByteCount; at += Piece)
        {
            int length = (int)Math.Min(Piece, _block.ByteCount - at);
            if (!new ReadOnlySpan<byte>(_block.Pointer + at, length).SequenceEqual(new ReadOnlySpan<byte>(other._block.Pointer + at, length)))
            {
                return false;
            }
        }

        return true;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _block.Dispose();
        }
    }

    // Several threads may have met one; the first is told.
    private static InvalidDataException? RefusedWeight(Exception error) =>
        error as InvalidDataException ?? (error as AggregateException)?.InnerExceptions.OfType<InvalidDataException>().FirstOrDefault();

    /// <summary>
    /// A pair of inputs of one output shares 32 bits, the first in the low half: the pairs are transposed as they are, then each row of
    /// them is widened.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ReadBF16(byte* panel, int count, int firstColumn, int columns, float* target, nint stride)
    {
        // A depth block has 16 pairs of 16 columns one after the other, so within it pairs are rows of 16 elements.
        uint* pairs = stackalloc uint[PanelLayout.TileWidth * PanelLayout.DepthBlock / 2];
        for (int k = 0; k < columns;)
        {
            int first = firstColumn + k;
            int length = Math.Min(columns - k, PanelLayout.DepthBlock - (first % PanelLayout.DepthBlock));
            int pairCount = (length + 1) / 2;
            for (int tile = 0; tile < count; tile += PanelLayout.TileWidth)
            {
                float* source = (float*)(panel + BF16DepthOffset(first) + PanelLayout.BF16ColumnOffset(tile));
                int width = Math.Min(PanelLayout.TileWidth, count - tile);
                TransposeBlock.Run(source, PanelLayout.TileWidth, pairCount, width, (float*)pairs, PanelLayout.DepthBlock / 2);
                for (int n = 0; n < width; n++)
                {
                    Widen((ushort*)(pairs + (n * PanelLayout.DepthBlock / 2)), target + ((tile + n) * stride) + k, length);
                }
            }

            k += length;
        }
    }

    /// <summary>bf16 is the upper half of f32.</summary>
    private static void Widen(ushort* source, float* target, int count)
    {
        int i = 0;
        for (; i <= count - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(Vector.Load(source + i), out Vector<uint> low, out Vector<uint> high);
            Vector.Store(Vector.AsVectorSingle(low << 16), target + i);
            Vector.Store(Vector.AsVectorSingle(high << 16), target + i + Vector<uint>.Count);
        }

        for (; i < count; i++)
        {
            target[i] = BFloat16.ToSingle(source[i]);
        }
    }

    /// <summary>Bytes from input 0 to input k of a column: 2 for the second of a pair, 64 a pair, 2048 a block of 32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static nint BF16DepthOffset(int k) =>
        ((nint)(k / PanelLayout.DepthBlock) * 2 * PanelLayout.TileBytes) + (k % PanelLayout.DepthBlock / 2 * 64) + (k % 2 * sizeof(ushort));

    private void PackPanel(int panel, WeightRowReader reader)
    {
        int first = panel * PanelLayout.Width;
        int count = Math.Min(PanelLayout.Width, Rows - first);
        float[] rows = ArrayPool<float>.Shared.Rent(count * Columns);
        try
        {
            reader(first, rows.AsSpan(0, count * Columns));
            fixed (float* source = rows)
            {
                if (Quantized is not null)
                {
                    Quantized.Pack(panel, source, count, Panel(panel));
                }
                else
                {
                    Transpose(source, count, Panel(panel));
                }
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(rows);
        }
    }

    /// <summary>Fills a panel from row-major rows; what is beyond rows and columns is zero already (fresh memory).</summary>
    private void Transpose(float* source, int count, byte* panel)
    {
        if (Format == WeightFormat.F32)
        {
            TransposeBlock.Run(source, Columns, count, Columns, (float*)panel, PanelLayout.Width);
            return;
        }

        // A depth block at a time: its rows are rounded side by side, pairs of inputs to 32 bits, and then turned as those. An odd last
        // input leaves the other half of its pair zero, as the buffer is.
        const int Pairs = PanelLayout.DepthBlock / 2;
        uint* rounded = stackalloc uint[PanelLayout.Width * Pairs];
        for (int k = 0; k < Columns; k += PanelLayout.DepthBlock)
        {
            int depth = Math.Min(PanelLayout.DepthBlock, Columns - k);
            new Span<uint>(rounded, PanelLayout.Width * Pairs).Clear();
            for (int n = 0; n < count; n++)
            {
                Round(source + ((nint)n * Columns) + k, (ushort*)(rounded + (n * Pairs)), depth);
            }

            // Rows beyond the count are rounded as zeros, which is what a panel's padding is.
            float* block = (float*)(panel + BF16DepthOffset(k));
            for (int tile = 0; tile < PanelLayout.Width; tile += PanelLayout.TileWidth)
            {
                float* target = block + (tile / PanelLayout.TileWidth * PanelLayout.TileBytes / sizeof(float));
                TransposeBlock.Run((float*)(rounded + (tile * Pairs)), Pairs, PanelLayout.TileWidth, Pairs, target, PanelLayout.TileWidth);
            }
        }
    }

    /// <summary>Rounds to the nearest bf16, ties to even, as <see cref="BFloat16.FromSingle"/> does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Round(float* source, ushort* target, int count)
    {
        int i = 0;
        for (; i <= count - Vector256<ushort>.Count; i += Vector256<ushort>.Count)
        {
            Vector256<uint> low = BFloat16Rounding.Round(Vector256.Load(source + i));
            Vector256<uint> high = BFloat16Rounding.Round(Vector256.Load(source + i + Vector256<float>.Count));
            Vector256.Narrow(low, high).Store(target + i);
        }

        for (; i < count; i++)
        {
            target[i] = BFloat16.FromSingle(source[i]);
        }
    }
}
