using InferenceServer.Tensors;
using InferenceServer.Tensors.Packed;
using InferenceServer.TestKit.ReferenceMaths;
using Xunit;

namespace InferenceServer.TestKit.Conformance;

/// <summary>Matrices come back from their packed bytes as they were, on backends that give them away.</summary>
public abstract class PackedConformance : BackendConformance
{
    [Theory]
    [InlineData(WeightFormat.F32, false)]
    [InlineData(WeightFormat.F32, true)]
    [InlineData(WeightFormat.BF16, false)]
    [InlineData(WeightFormat.BF16, true)]
    [InlineData(WeightFormat.Int8, false)]
    [InlineData(WeightFormat.Int8, true)]
    [InlineData(WeightFormat.NF4, false)]
    [InlineData(WeightFormat.NF4, true)]
    public void Matrices_from_a_file_have_the_same_bits_also_when_the_file_is_gone(WeightFormat format, bool inPlace)
    {
        // The last is larger than a piece in every format, and what lies beside its panels crosses the end of one.
        (int Rows, int Columns)[] shapes = [(1, 1), (31, 7), (32, 32), (33, 67), (97, 1031), (1000, 1003)];
        string path = Path.Combine(Path.GetTempPath(), $"packed-{Guid.NewGuid():N}");
        IPackedWeightBackend packing = Assert.IsAssignableFrom<IPackedWeightBackend>(Backend);
        WeightMatrix[] matrices = [.. shapes.Select((shape, i) => Pack(Backend, HostTensor.Random(shape.Rows, shape.Columns, i + 1), format, $"m{i}"))];
        WeightMatrix[] restored = [];
        try
        {
            using (FileStream stream = File.Create(path))
            {
                PackedFileWriter.Write(stream, "key", packing, matrices, CancellationToken.None);
            }

            Assert.Equal(PackedFileWriter.Measure("key", matrices), new FileInfo(path).Length);
            using (PackedFile file = PackedFile.Open(path, "key"))
            {
                packing.Prepare(file);

                // Whether the page cache has pages of 2 MB is not the test's to say: here they may lie in small ones.
                bool isMapped = inPlace && file.TryMap(2, hugePages: false);
                Assert.Equal(inPlace && OperatingSystem.IsLinux(), isMapped);
                restored = [.. matrices.Select(matrix => packing.CreateMatrix(file, file.Find(matrix.Rows, matrix.Columns, format, matrix.Label)!))];
            }

            File.Delete(path);
            foreach ((WeightMatrix matrix, WeightMatrix copy) in matrices.Zip(restored))
            {
                Assert.Equal(matrix.ByteCount, copy.ByteCount);
                Assert.True(Backend.AreIdentical(matrix, copy), $"[{matrix.Rows}, {matrix.Columns}] in {format}");
                Assert.Equal(ReadAll(matrix), ReadAll(copy));
            }
        }
        finally
        {
            File.Delete(path);
            Array.ForEach(matrices, matrix => matrix.Dispose());
            Array.ForEach(restored, matrix => matrix.Dispose());
        }
    }

    [Fact]
    public void Any_part_of_the_packed_bytes_can_be_read()
    {
        IPackedWeightBackend packing = Assert.IsAssignableFrom<IPackedWeightBackend>(Backend);
        using WeightMatrix matrix = Pack(Backend, HostTensor.Random(65, 130, 1), WeightFormat.NF4, "m");
        byte[] whole = new byte[matrix.ByteCount];
        packing.ReadPacked(matrix, 0, whole);

        foreach (int size in new[] { 1, 7, 1024 })
        {
            byte[] parts = new byte[whole.Length];
            for (int at = 0; at < parts.Length; at += size)
            {
                packing.ReadPacked(matrix, at, parts.AsSpan(at, Math.Min(size, parts.Length - at)));
            }

            Assert.Equal(whole, parts);
        }

        Assert.ThrowsAny<ArgumentException>(() => packing.ReadPacked(matrix, 1, whole));
    }

    private static WeightMatrix Pack(IComputeBackend backend, HostTensor weight, WeightFormat format, string label) => backend.CreateMatrix(
        weight.Rows,
        weight.Columns,
        format,
        label,
        (row, target) => weight.Values.AsSpan(row * weight.Columns, target.Length).CopyTo(target));

    private float[] ReadAll(WeightMatrix matrix)
    {
        float[] values = new float[matrix.Rows * matrix.Columns];
        Backend.ReadMatrix(matrix, 0, values);
        return values;
    }
}
