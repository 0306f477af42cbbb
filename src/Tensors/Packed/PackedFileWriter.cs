using System.Buffers;

namespace InferenceServer.Tensors.Packed;

/// <summary>Writes what <see cref="PackedFile"/> reads. The header comes last, so that a file that was not finished has none.</summary>
public static class PackedFileWriter
{
    // Whole pieces, and large enough for the file system to keep them in huge pages where it can.
    private const int PartBytes = 16 * PackedSection.PieceBytes;

    /// <summary>Bytes that the file of these matrices will have.</summary>
    public static long Measure(string key, IReadOnlyList<WeightMatrix> matrices)
    {
        PackedSectionHeader last = Place(key, matrices)[^1];
        return last.Offset + last.ByteCount;
    }

    /// <summary>Fills a new file and makes it durable.</summary>
    /// <param name="stream">The file, empty.</param>
    /// <param name="key">What it is about: everything that the packed bytes depend on.</param>
    /// <param name="backend">The backend that packed the matrices.</param>
    /// <param name="matrices">At least one; each with a label of its own.</param>
    /// <param name="cancellation">Stops between two parts.</param>
    /// <exception cref="IOException">The disk is full or broken.</exception>
    public static void Write(
        FileStream stream, string key, IPackedWeightBackend backend, IReadOnlyList<WeightMatrix> matrices, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(stream);
        List<PackedSectionHeader> sections = Place(key, matrices);
        byte[] part = ArrayPool<byte>.Shared.Rent(PartBytes);
        try
        {
            for (int i = 0; i < sections.Count; i++)
            {
                Write(stream, sections[i], backend, matrices[i], part.AsSpan(0, PartBytes), cancellation);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(part);
        }

        stream.Position = 0;
        stream.Write(PackedHeader.Write(key, sections));
        stream.Flush(flushToDisk: true);
    }

    private static List<PackedSectionHeader> Place(string key, IReadOnlyList<WeightMatrix> matrices)
    {
        List<PackedSectionHeader> sections =
        [
            .. matrices.Select(matrix => new PackedSectionHeader(
                matrix.Label,
                matrix.Rows,
                matrix.Columns,
                matrix.Format,
                0,
                matrix.ByteCount,
                new uint[PackedSection.CountPieces(matrix.ByteCount)])),
        ];
        long offset = PackedHeader.Measure(key, sections);
        for (int i = 0; i < sections.Count; i++)
        {
            offset = PackedHeader.Align(offset);
            sections[i] = sections[i] with { Offset = offset };
            offset += sections[i].ByteCount;
        }

        return sections;
    }

    private static void Write(
        FileStream stream,
        PackedSectionHeader section,
        IPackedWeightBackend backend,
        WeightMatrix matrix,
        Span<byte> part,
        CancellationToken cancellation)
    {
        stream.Position = section.Offset;
        for (long start = 0; start < section.ByteCount; start += part.Length)
        {
            cancellation.ThrowIfCancellationRequested();
            Span<byte> bytes = part[..(int)Math.Min(part.Length, section.ByteCount - start)];
            backend.ReadPacked(matrix, start, bytes);
            for (int at = 0; at < bytes.Length; at += PackedSection.PieceBytes)
            {
                Span<byte> piece = bytes.Slice(at, Math.Min(PackedSection.PieceBytes, bytes.Length - at));
                section.Checksums[(start + at) / PackedSection.PieceBytes] = PackedChecksum.Of(piece);
            }

            stream.Write(bytes);
        }
    }
}
