using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace InferenceServer.Tensors.Packed;

/// <summary>
/// The start of a packed file: 8 bytes that name the format and its version, the length of the header (32 bits), the key, and for each
/// matrix its name, shape, format, place and checksums; then the SHA-256 of all that. The matrices follow, each at a multiple of 4096.
/// </summary>
internal static class PackedHeader
{
    private const int PrefixBytes = 12;
    private const int MaxBytes = 256 << 20;
    private const long Alignment = 4096;

    private static ReadOnlySpan<byte> Magic => "ISPACK\0\x01"u8;

    /// <summary>First place for data at or after a byte.</summary>
    public static long Align(long offset) => (offset + Alignment - 1) / Alignment * Alignment;

    /// <summary>Length of the header in bytes; offsets and checksums do not change it.</summary>
    public static int Measure(string key, IReadOnlyList<PackedSectionHeader> sections) => Write(key, sections).Length;

    public static byte[] Write(string key, IReadOnlyList<PackedSectionHeader> sections)
    {
        using MemoryStream stream = new();
        using (BinaryWriter writer = new(stream, Encoding.UTF8, leaveOpen: true))
        {
            writer.Write(Magic);
            writer.Write(0);
            writer.Write(key);
            writer.Write(PackedSection.PieceBytes);
            writer.Write(sections.Count);
            foreach (PackedSectionHeader section in sections)
            {
                writer.Write(section.Label);
                writer.Write(section.Rows);
                writer.Write(section.Columns);
                writer.Write((int)section.Format);
                writer.Write(section.Offset);
                writer.Write(section.ByteCount);
                foreach (uint checksum in section.Checksums)
                {
                    writer.Write(checksum);
                }
            }
        }

        byte[] header = new byte[stream.Length + SHA256.HashSizeInBytes];
        stream.GetBuffer().AsSpan(0, (int)stream.Length).CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(Magic.Length), header.Length);
        SHA256.HashData(header.AsSpan(0, (int)stream.Length), header.AsSpan((int)stream.Length));
        return header;
    }

    /// <summary>Reads and checks a header.</summary>
    /// <param name="stream">Positioned at the file's start.</param>
    /// <param name="file">Name for messages.</param>
    /// <param name="key">What the file must be about.</param>
    /// <exception cref="PackedFileException">The file must not be used.</exception>
    public static List<PackedSectionHeader> Read(FileStream stream, string file, string key)
    {
        Span<byte> prefix = stackalloc byte[PrefixBytes];
        if (stream.Length < PrefixBytes + SHA256.HashSizeInBytes)
        {
            throw new PackedFileException(file, $"{stream.Length} bytes are no packed weights");
        }

        stream.ReadExactly(prefix);
        int length = BinaryPrimitives.ReadInt32LittleEndian(prefix[Magic.Length..]);
        if (!prefix[..Magic.Length].SequenceEqual(Magic))
        {
            throw new PackedFileException(file, "does not begin like packed weights of this version");
        }

        if (length < PrefixBytes + SHA256.HashSizeInBytes || length > Math.Min(stream.Length, MaxBytes))
        {
            throw new PackedFileException(file, $"header of {length} bytes in a file of {stream.Length}");
        }

        byte[] header = new byte[length];
        stream.Position = 0;
        stream.ReadExactly(header);
        int body = length - SHA256.HashSizeInBytes;
        if (!SHA256.HashData(header.AsSpan(0, body)).AsSpan().SequenceEqual(header.AsSpan(body)))
        {
            throw new PackedFileException(file, "the header is not the one that was written");
        }

        return Parse(header.AsSpan(PrefixBytes, body - PrefixBytes).ToArray(), file, key, stream.Length);
    }

    private static List<PackedSectionHeader> Parse(byte[] body, string file, string key, long fileLength)
    {
        // What is read here was written by this program, as the hash says: no field needs to be mistrusted, but the file may be cut off.
        using BinaryReader reader = new(new MemoryStream(body), Encoding.UTF8);
        string found = reader.ReadString();
        int pieceBytes = reader.ReadInt32();
        if (found != key || pieceBytes != PackedSection.PieceBytes)
        {
            throw new PackedFileException(file, $"is about {found}, not {key}");
        }

        List<PackedSectionHeader> sections = [];
        long end = 0;
        for (int left = reader.ReadInt32(); left > 0; left--)
        {
            string label = reader.ReadString();
            int rows = reader.ReadInt32();
            int columns = reader.ReadInt32();
            WeightFormat format = (WeightFormat)reader.ReadInt32();
            long offset = reader.ReadInt64();
            long byteCount = reader.ReadInt64();
            uint[] checksums = new uint[PackedSection.CountPieces(byteCount)];
            for (int i = 0; i < checksums.Length; i++)
            {
                checksums[i] = reader.ReadUInt32();
            }

            sections.Add(new PackedSectionHeader(label, rows, columns, format, offset, byteCount, checksums));
            end = offset + byteCount;
        }

        return end == fileLength ? sections : throw new PackedFileException(file, $"has {fileLength} bytes, {end} were written");
    }
}
