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
