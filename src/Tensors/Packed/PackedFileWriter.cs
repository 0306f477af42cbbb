namespace InferenceServer.Tensors.Packed;

/// <summary>Writes what <see cref="PackedFile"/> reads. The header comes last, so that a file that was not finished has none.</summary>
public static class PackedFileWriter
{
    /// <summary>
    /// Buffer that the file's stream should have: it is filled from the first byte to the last, so that the system writes at multiples of
    /// it, and a page cache that can keeps such a file in pages of 2 MB.
    /// </summary>
    public const int BufferBytes = 4 << 20;

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
        byte[] piece = new byte[PackedSection.PieceBytes];
        for (int i = 0; i < sections.Count; i++)
        {
            // The room of the header is zeros until all else is there; those between matrices stay.
            Pad(stream, sections[i].Offset);
            Write(stream, sections[i], backend, matrices[i], piece, cancellation);
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

    private static void Pad(FileStream stream, long offset)
    {
        Span<byte> zeros = stackalloc byte[1024];
        zeros.Clear();
        while (stream.Position < offset)
        {
            stream.Write(zeros[..(int)Math.Min(zeros.Length, offset - stream.Position)]);
        }
    }

    private static void Write(
        FileStream stream,
        PackedSectionHeader section,
        IPackedWeightBackend backend,
        WeightMatrix matrix,
        byte[] buffer,
        CancellationToken cancellation)
    {
        for (int i = 0; i < section.Checksums.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            long start = (long)i * PackedSection.PieceBytes;
            Span<byte> piece = buffer.AsSpan(0, (int)Math.Min(buffer.Length, section.ByteCount - start));
            backend.ReadPacked(matrix, start, piece);
            section.Checksums[i] = PackedChecksum.Of(piece);
            stream.Write(piece);
        }
    }
}
