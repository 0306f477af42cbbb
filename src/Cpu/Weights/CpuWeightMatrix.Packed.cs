using System.Runtime.ExceptionServices;
using InferenceServer.Tensors.Packed;

namespace InferenceServer.Cpu.Weights;

/// <summary>The packed form on disk: the panels.</summary>
internal sealed unsafe partial class CpuWeightMatrix
{
    /// <summary>Copies bytes of the packed form.</summary>
    public void ReadPacked(long offset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + destination.Length, ByteCount, nameof(destination));

        new ReadOnlySpan<byte>(_block.Pointer + offset, destination.Length).CopyTo(destination);
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

            if (mapped is null)
            {
                ParallelOptions options = new() { MaxDegreeOfParallelism = threads };
                Parallel.For(0, section.PieceCount, options, piece => matrix.RestorePiece(section, piece));
            }

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

    private void RestorePiece(PackedSection section, int piece)
    {
        // The sum of the matrix's bytes bounds the last piece.
        long start = (long)piece * PackedSection.PieceBytes;
        int count = (int)Math.Min(PackedSection.PieceBytes, ByteCount - start);
        section.Read(piece, new Span<byte>(_block.Pointer + start, count));
    }
}
