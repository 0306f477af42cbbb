using System.Runtime.ExceptionServices;
using Microsoft.Win32.SafeHandles;

namespace InferenceServer.Tensors.Packed;

/// <summary>One matrix in a <see cref="PackedFile"/>, as its backend packed it; readable as long as the file is open.</summary>
public sealed class PackedSection
{
    /// <summary>Bytes that share a checksum, and the unit of reading: a piece is checked while it is still in the second-level cache.</summary>
    public const int PieceBytes = 256 << 10;

    private readonly string _file;
    private readonly SafeFileHandle _handle;
    private readonly long _offset;
    private readonly uint[] _checksums;

    internal PackedSection(string file, SafeFileHandle handle, PackedSectionHeader header)
    {
        _file = file;
        _handle = handle;
        _offset = header.Offset;
        _checksums = header.Checksums;
        Label = header.Label;
        Rows = header.Rows;
        Columns = header.Columns;
        Format = header.Format;
        ByteCount = header.ByteCount;
    }

    public string Label { get; }

    public int Rows { get; }

    public int Columns { get; }

    public WeightFormat Format { get; }

    public long ByteCount { get; }

    /// <summary>Pieces; all but the last have <see cref="PieceBytes"/>.</summary>
    public int PieceCount => _checksums.Length;

    /// <summary>Pieces of so many bytes.</summary>
    internal static int CountPieces(long byteCount) => checked((int)((byteCount + PieceBytes - 1) / PieceBytes));

    /// <summary>Reads one piece and checks it; several threads may read at once.</summary>
    /// <param name="piece">Number of the piece.</param>
    /// <param name="destination">As many bytes as the piece has.</param>
    /// <exception cref="PackedFileException">The bytes are not those that were written.</exception>
    /// <exception cref="IOException">The disk cannot be read.</exception>
    public void Read(int piece, Span<byte> destination)
    {
        long start = (long)piece * PieceBytes;
        ArgumentOutOfRangeException.ThrowIfNotEqual(destination.Length, (int)Math.Min(PieceBytes, ByteCount - start));
        int done = 0;
        while (done < destination.Length)
        {
            int count = RandomAccess.Read(_handle, destination[done..], _offset + start + done);
            if (count == 0)
            {
                throw new PackedFileException(_file, $"ends within '{Label}'");
            }

            done += count;
        }

        Check(piece, destination);
    }

    /// <summary>Brings a mapped section into memory and checks it.</summary>
    /// <returns>False when the system cannot bring it in safely.</returns>
    /// <exception cref="PackedFileException">The bytes are not those that were written.</exception>
    internal bool TryCheck(MappedFile mapped, ParallelOptions options)
    {
        // Some pieces at a time, so that a thread finds in its caches what it has brought in.
        const int Group = 16;
        bool isThere = true;
        try
        {
            Parallel.For(0, (PieceCount + Group - 1) / Group, options, group =>
            {
                long start = (long)group * Group * PieceBytes;
                if (!mapped.TryPopulate(_offset + start, Math.Min((long)Group * PieceBytes, ByteCount - start)))
                {
                    Volatile.Write(ref isThere, false);
                    return;
                }

                for (int piece = group * Group; piece < Math.Min((group + 1) * Group, PieceCount); piece++)
                {
                    long at = (long)piece * PieceBytes;
                    Check(piece, mapped.Bytes(_offset + at, (int)Math.Min(PieceBytes, ByteCount - at)));
                }
            });
        }
        catch (AggregateException error)
        {
            // The first problem of several threads is the one to tell.
            ExceptionDispatchInfo.Throw(error.InnerExceptions[0]);
        }

        return isThere;
    }

    internal MappedBytes Take(MappedFile mapped) => mapped.Take(_offset, ByteCount);

    private void Check(int piece, ReadOnlySpan<byte> bytes)
    {
        if (PackedChecksum.Of(bytes) != _checksums[piece])
        {
            long start = (long)piece * PieceBytes;
            throw new PackedFileException(_file, $"bytes {start} to {start + bytes.Length} of '{Label}' are not those that were written");
        }
    }
}
