using InferenceServer.Cpu.Adapters;
using InferenceServer.Cpu.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

public sealed unsafe class LowRankLayoutTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 31)]
    [InlineData(8, 32)]
    [InlineData(13, 33)]
    [InlineData(16, 97)]
    [InlineData(65, 64)]
    public void Packed_matrices_have_every_element_rounded_by_the_definition_and_zeros_behind(int ranks, int length)
    {
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.F32, WeightFormat.BF16])
        {
            HostMatrix a = Random(ranks, length);
            HostMatrix b = Random(length, ranks);
            int width = LowRankLayout.RoundUp(length);
            using NativeBlock packedA = new(LowRankLayout.ByteCount(ranks, length, format), "A");
            using NativeBlock packedB = new(LowRankLayout.ByteCount(ranks, length, format), "B");
            new Span<byte>(packedA.Pointer, (int)packedA.ByteCount).Fill(0xee);
            new Span<byte>(packedB.Pointer, (int)packedB.ByteCount).Fill(0xee);

            LowRankLayout.PackA(a, format, packedA.Pointer);
            LowRankLayout.PackB(b, format, packedB.Pointer);

            for (int rank = 0; rank < ranks; rank++)
            {
                for (int i = 0; i < width; i++)
                {
                    float expectedA = i < length ? Rounded(a.Values[(rank * length) + i], format) : 0;
                    float expectedB = i < length ? Rounded(b.Values[(i * ranks) + rank], format) : 0;
                    Assert.Equal(expectedA, LowRankLayout.ReadA(packedA.Pointer, ranks, length, format, rank, i));
                    Assert.Equal(expectedB, ReadB(packedB.Pointer, ranks, format, rank, i));
                }
            }
        }
    }

    [Theory]
    [InlineData(DType.F32, 1f)]
    [InlineData(DType.F32, 0.3f)]
    [InlineData(DType.F16, 1f)]
    [InlineData(DType.F16, 0.3f)]
    [InlineData(DType.BF16, 1f)]
    [InlineData(DType.BF16, 2f)]
    [InlineData(DType.BF16, 0.3f)]
    public void A_matrix_still_in_its_file_is_packed_as_its_values_are(DType type, float factor)
    {
        using StoredBytesPool pool = new();
        foreach ((int ranks, int length) in ((int, int)[])[(1, 1), (3, 31), (8, 32), (13, 33), (16, 97), (65, 64)])
        {
            foreach (WeightFormat format in (WeightFormat[])[WeightFormat.F32, WeightFormat.BF16])
            {
                HostMatrix values = Random(ranks, length);

                // At an odd byte, as a header may leave it.
                using StoredBytes bytes = pool.Rent(1 + ((long)ranks * length * type.ByteSize()));
                FloatConversion.FromSingle(type, values.Values, bytes.Slice(1, ranks * length * type.ByteSize()));
                HostMatrix a = new(ranks, length, bytes, 1, type, factor);
                HostMatrix b = new(length, ranks, bytes, 1, type, factor);
                using NativeBlock stored = new(2 * LowRankLayout.ByteCount(ranks, length, format), "stored");
                using NativeBlock widened = new(stored.ByteCount, "widened");

                LowRankLayout.PackA(a, format, stored.Pointer);
                LowRankLayout.PackB(b, format, stored.Pointer + (stored.ByteCount / 2));
                LowRankLayout.PackA(new HostMatrix(ranks, length, a.Values), format, widened.Pointer);
                LowRankLayout.PackB(new HostMatrix(length, ranks, b.Values), format, widened.Pointer + (widened.ByteCount / 2));

                float[] first = new float[1];
                FloatConversion.ToSingle(type, bytes.Slice(1, type.ByteSize()), first);
                Assert.Equal(first[0] * factor, a.Row(0)[0]);
                Assert.True(new Span<byte>(stored.Pointer, (int)stored.ByteCount).SequenceEqual(new Span<byte>(widened.Pointer, (int)widened.ByteCount)));
            }
        }
    }

    /// <summary>By the layout's definition: [out/32][R][32], in BF16 as 16 pairs of the run's halves.</summary>
    private static float ReadB(byte* b, int ranks, WeightFormat format, int rank, int output)
    {
        int run = (output / 32 * ranks) + rank;
        int place = output % 32;
        return format == WeightFormat.F32
            ? ((float*)b)[(run * 32) + place]
            : BFloat16.ToSingle(((ushort*)b)[(run * 32) + (place < 16 ? 2 * place : (2 * (place - 16)) + 1)]);
    }

    private static float Rounded(float value, WeightFormat format) =>
        format == WeightFormat.F32 ? value : BFloat16.ToSingle(BFloat16.FromSingle(value));

    private static HostMatrix Random(int rows, int columns)
    {
        Random random = new((rows * 1000) + columns);
        return new HostMatrix(rows, columns, [.. Enumerable.Range(0, rows * columns).Select(_ => (float)(random.NextDouble() - 0.5))]);
    }
}
