using System.Buffers.Binary;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Packed;
using InferenceServer.UnitTests.AdapterStore;
using Xunit;

namespace InferenceServer.UnitTests.PackedWeights;

public sealed class PackedFileTests : IDisposable
{
    private const string Key = "0123456789abcdef";

    private readonly TemporaryFolder _folder = new();
    private readonly PlainMatrix[] _matrices = [new("first", 3, 700_000), new("second", 1, 5), new("third", 2, 262_144)];

    private string FilePath => _folder["weights"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_was_written_is_read()
    {
        Write();

        using PackedFile file = PackedFile.Open(FilePath, Key);

        Assert.Equal(new FileInfo(FilePath).Length, file.ByteCount);
        Assert.All(_matrices, matrix => Assert.Equal(matrix.Bytes, Read(file, matrix)));
        Assert.Null(file.Find(3, 700_000, WeightFormat.F32, "first"));
        Assert.Null(file.Find(3, 700_001, WeightFormat.BF16, "first"));
        Assert.Null(file.Find(3, 700_000, WeightFormat.BF16, "fourth"));
    }

    [Fact]
    public void A_flipped_bit_anywhere_is_found()
    {
        Write();
        byte[] good = File.ReadAllBytes(FilePath);
        int headerBytes = BinaryPrimitives.ReadInt32LittleEndian(good.AsSpan(8));
        bool[] isUsed = [.. Enumerable.Repeat(false, good.Length)];
        isUsed.AsSpan(0, headerBytes).Fill(true);
        foreach (PlainMatrix matrix in _matrices)
        {
            isUsed.AsSpan(good.AsSpan().IndexOf(matrix.Bytes), matrix.Bytes.Length).Fill(true);
        }

        // The header byte by byte, the weights at places of their own in each piece; what lies between matrices is nobody's.
        Random random = new(1);
        int[] places =
        [
            .. Enumerable.Range(0, headerBytes).Where(place => place % 3 == 0),
            .. Enumerable.Range(0, 300).Select(_ => random.Next(headerBytes, good.Length)).Where(place => isUsed[place]),
            good.Length - 1,
        ];
        foreach (int place in places)
        {
            byte[] bad = [.. good];
            bad[place] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(FilePath, bad);

            Assert.Throws<PackedFileException>(ReadEverything);
            if (OperatingSystem.IsLinux())
            {
                Assert.Throws<PackedFileException>(Map);
            }
        }
    }

    [Fact]
    public void A_mapped_part_outlives_the_file()
    {
        Write();
        MappedBytes?[] parts;
        using (PackedFile file = PackedFile.Open(FilePath, Key))
        {
            Assert.Equal(OperatingSystem.IsLinux(), file.TryMap(2, hugePages: false));
            parts = [.. _matrices.Select(matrix => file.TakeMapped(file.Find(matrix.Rows, matrix.Columns, matrix.Format, matrix.Label)!))];
        }

        File.Delete(FilePath);

        for (int i = 0; i < parts.Length && OperatingSystem.IsLinux(); i++)
        {
            Assert.Equal(_matrices[i].Bytes, parts[i]!.ToArray());
            parts[i]!.Dispose();
            Assert.Throws<ObjectDisposedException>(parts[i]!.ToArray);
        }
    }

    [Fact]
    public void A_file_in_small_pages_is_not_mapped_where_huge_ones_are_wanted()
    {
        // Too small for a page of 2 MB in any page cache.
        PlainMatrix[] small = [new("small", 100, 100)];
        using (FileStream stream = File.Create(FilePath))
        {
            PackedFileWriter.Write(stream, Key, new PlainBackend(), small, CancellationToken.None);
        }

        using PackedFile file = PackedFile.Open(FilePath, Key);

        Assert.False(file.TryMap(2, hugePages: true));
        Assert.False(file.IsMapped);
        Assert.Null(file.TakeMapped(file.Find(100, 100, WeightFormat.BF16, "small")!));
        Assert.Equal(small[0].Bytes, Read(file, small[0]));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(11)]
    [InlineData(43)]
    [InlineData(44)]
    [InlineData(4096)]
    [InlineData(-1)]
    [InlineData(-300_000)]
    public void A_file_that_was_cut_off_is_found(int length)
    {
        Write();
        using (FileStream stream = new(FilePath, FileMode.Open))
        {
            stream.SetLength(length >= 0 ? length : stream.Length + length);
        }

        Assert.Throws<PackedFileException>(ReadEverything);
    }

    [Fact]
    public void A_file_that_grew_is_found()
    {
        Write();
        File.AppendAllText(FilePath, "x");

        Assert.Throws<PackedFileException>(ReadEverything);
    }

    [Fact]
    public void Weights_of_another_key_are_refused()
    {
        Write();

        PackedFileException error = Assert.Throws<PackedFileException>(() => PackedFile.Open(FilePath, "fedcba9876543210"));

        Assert.Contains(Key, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_of_something_else_is_refused()
    {
        File.WriteAllBytes(FilePath, new byte[100_000]);

        Assert.Throws<PackedFileException>(ReadEverything);
    }

    [Fact]
    public void A_file_whose_writing_stopped_has_no_header()
    {
        using (FileStream stream = File.Create(FilePath))
        {
            using CancellationTokenSource stop = new();
            PlainBackend backend = new();
            backend.OnRead = matrix =>
            {
                if (matrix.Label == "second")
                {
                    stop.Cancel();
                }
            };
            Assert.Throws<OperationCanceledException>(() => PackedFileWriter.Write(stream, Key, backend, _matrices, stop.Token));
        }

        Assert.Throws<PackedFileException>(ReadEverything);
    }

    private void Write()
    {
        using FileStream stream = File.Create(FilePath);
        PackedFileWriter.Write(stream, Key, new PlainBackend(), _matrices, CancellationToken.None);
    }

    private void ReadEverything()
    {
        using PackedFile file = PackedFile.Open(FilePath, Key);
        foreach (PlainMatrix matrix in _matrices)
        {
            Read(file, matrix);
        }
    }

    private void Map()
    {
        using PackedFile file = PackedFile.Open(FilePath, Key);
        file.TryMap(2, hugePages: false);
    }

    private static byte[] Read(PackedFile file, PlainMatrix matrix)
    {
        PackedSection section = file.Find(matrix.Rows, matrix.Columns, matrix.Format, matrix.Label)!;
        byte[] bytes = new byte[section.ByteCount];
        for (int piece = 0; piece < section.PieceCount; piece++)
        {
            int start = piece * PackedSection.PieceBytes;
            section.Read(piece, bytes.AsSpan(start, Math.Min(PackedSection.PieceBytes, bytes.Length - start)));
        }

        return bytes;
    }
}
