using System.Buffers;
using System.Runtime.ExceptionServices;
using InferenceServer.Tensors.Packed;

namespace InferenceServer.Cuda.Weights;

/// <summary>The packed form on disk: the bytes on the device.</summary>
internal sealed partial class CudaWeightMatrix
{
    // Pieces of a file that are copied at once.
    private const int PiecesOfCopy = PieceBytes / PackedSection.PieceBytes;

    /// <summary>Copies bytes of the packed form; any thread.</summary>
    public void ReadPacked(long offset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + destination.Length, ByteCount, nameof(destination));
        ReadBytes(offset, destination);
    }

    /// <summary>Reads what <see cref="ReadPacked"/> gave, by all processors.</summary>
    /// <exception cref="PackedFileException">It is broken, or of another size than this matrix has here.</exception>
    /// <exception cref="IOException">The disk cannot be read.</exception>
    public static CudaWeightMatrix Restore(CudaMachine machine, PackedSection section)
    {
        WeightLayout layout = WeightLayout.Create(section.Rows, section.Columns, section.Format, section.Label);
        if (layout.ByteCount != section.ByteCount)
        {
            throw new PackedFileException(section.Label, $"{section.ByteCount} bytes on disk, {layout.ByteCount} here");
        }

        CudaWeightMatrix matrix = new(machine, layout, section.Format, section.Label);
        try
        {
            Parallel.For(0, (section.PieceCount + PiecesOfCopy - 1) / PiecesOfCopy, copy => matrix.RestorePieces(section, copy * PiecesOfCopy));
            return matrix;
        }
        catch (AggregateException error)
        {
            // Pieces are read by several threads; the first problem is the one to tell.
            matrix.Dispose();
            ExceptionDispatchInfo.Throw(error.InnerExceptions[0]);
            throw;
        }
    }

    private void RestorePieces(PackedSection section, int first)
    {
        long start = (long)first * PackedSection.PieceBytes;
        int count = (int)Math.Min(PieceBytes, ByteCount - start);
        byte[] read = ArrayPool<byte>.Shared.Rent(count);
        try
        {
            for (int at = 0; at < count; at += PackedSection.PieceBytes)
            {
                section.Read(first + (at / PackedSection.PieceBytes), read.AsSpan(at, Math.Min(PackedSection.PieceBytes, count - at)));
            }

            Write(read.AsSpan(0, count), Address + (ulong)start);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(read);
        }
    }
}
