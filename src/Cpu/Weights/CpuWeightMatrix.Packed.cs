using System.Runtime.ExceptionServices;
using InferenceServer.Tensors.Packed;

namespace InferenceServer.Cpu.Weights;

/// <summary>The packed form on disk: the panels, then what lies beside them.</summary>
internal sealed unsafe partial class CpuWeightMatrix
{
    /// <summary>Copies bytes of the packed form.</summary>
    public void ReadPacked(long offset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + destination.Length, ByteCount, nameof(destination));

        // The check above keeps both parts inside what they are copied from.
        int panelBytes = (int)Math.Clamp(_block.ByteCount - offset, 0, destination.Length);
        if (panelBytes > 0)
        {
            new ReadOnlySpan<byte>(_block.Pointer + offset, panelBytes).CopyTo(destination);
        }

        if (panelBytes < destination.Length)
        {
            byte[] extras = new byte[Quantized!.ExtraBytes];
            Quantized.WriteExtras(extras);
            extras.AsSpan((int)(offset + panelBytes - _block.ByteCount), destination.Length - panelBytes).CopyTo(destination[panelBytes..]);
        }
    }

    /// <summary>Reads what <see cref="ReadPacked"/> gave.</summary>
    /// <param name="section">Where it was written.</param>
    /// <param name="mapped">Its bytes, checked, when they are to be used in place; taken over.</param>
    /// <param name="threads">Pieces read at once.</param>
    /// <param name="hugePages">Whether to ask for huge pages.</param>
    /// <exception cref="PackedFileException">It is broken, or of another size than this matrix has here.</exception>
    /// <exception cref="IOException">The disk cannot be read.</exception>
    public static CpuWeightMatrix Restore(PackedSection section, MappedBytes? mapped, int threads, bool hugePages)
    {
        CpuWeightMatrix matrix = new(section.Rows, section.Columns, section.Format, section.Label, hugePages, mapped);
        try
        {
            if (matrix.ByteCount != section.ByteCount)
            {
                throw new PackedFileException(section.Label, $"{section.ByteCount} bytes on disk, {matrix.ByteCount} here");
            }

            byte[] extras = new byte[matrix.Quantized?.ExtraBytes ?? 0];
            if (mapped is not null)
            {
                new ReadOnlySpan<byte>(mapped.Pointer + matrix._block.ByteCount, extras.Length).CopyTo(extras);
                matrix.Quantized?.ReadExtras(extras);
                return matrix;
            }

            ParallelOptions options = new() { MaxDegreeOfParallelism = threads };
            Parallel.For(0, section.PieceCount, options, piece => matrix.RestorePiece(section, piece, extras));
            matrix.Quantized?.ReadExtras(extras);
            return matrix;
        }
        catch (AggregateException error)
        {
            // Pieces are read by several threads; the first problem is the one to tell.
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

    private void RestorePiece(PackedSection section, int piece, byte[] extras)
    {
        long start = (long)piece * PackedSection.PieceBytes;
        int count = (int)Math.Min(PackedSection.PieceBytes, ByteCount - start);
        int panelBytes = (int)Math.Clamp(_block.ByteCount - start, 0, count);
        if (panelBytes == count)
        {
            // Straight into place: the sum of the matrix's bytes bounds the last piece.
            section.Read(piece, new Span<byte>(_block.Pointer + start, count));
            return;
        }

        byte[] mixed = new byte[count];
        section.Read(piece, mixed);
        mixed.AsSpan(0, panelBytes).CopyTo(new Span<byte>(_block.Pointer + Math.Min(start, _block.ByteCount), panelBytes));
        mixed.AsSpan(panelBytes).CopyTo(extras.AsSpan((int)(start + panelBytes - _block.ByteCount)));
    }
}
