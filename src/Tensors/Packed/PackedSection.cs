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

        if (PackedChecksum.Of(destination) != _checksums[piece])
        {
            throw new PackedFileException(_file, $"bytes {start} to {start + destination.Length} of '{Label}' are not those that were written");
        }
    }
}
