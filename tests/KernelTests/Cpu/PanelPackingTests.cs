using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using Xunit;

namespace InferenceServer.KernelTests.Cpu;

public sealed class PanelPackingTests
{
    // Ties both ways, overflow to infinity, denormals, both zeros, infinities and NaNs whose upper half alone would be an infinity.
    private static readonly uint[] s_special =
    [
        0x3f808000, 0x3f818000, 0x7f7fffff, 0x00000001, 0x80000000, 0, 0x7f800000, 0xff800000, 0x7f800001, 0xffc00000, 0x7fc12345, 0x3f80ffff,
    ];

    [Theory]
    [InlineData(1, 1)]
    [InlineData(31, 15)]
    [InlineData(32, 32)]
    [InlineData(33, 33)]
    [InlineData(70, 97)]
    public unsafe void Every_weight_is_rounded_by_the_definition_and_every_padding_is_zero(int rows, int columns)
    {
        Random random = new(rows + columns);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.Length; i++)
        {
            uint bits = i % 5 == 0 ? s_special[random.Next(s_special.Length)] : (uint)random.NextInt64(1L << 32);
            values[i] = BitConverter.UInt32BitsToSingle(bits);
        }

        using CpuWeightMatrix matrix = CpuWeightMatrix.Pack(
            rows, columns, WeightFormat.BF16, "m", (first, target) => values.AsSpan(first * columns, target.Length).CopyTo(target), threads: 2);

        // The layout by its definition: [out/32][in/32][2 tiles][16 pairs][16 columns][2].
        for (int panel = 0; panel < matrix.PanelCount; panel++)
        {
            ushort* start = (ushort*)matrix.Panel(panel);
            for (int place = 0; place < matrix.PanelBytes / sizeof(ushort); place++)
            {
                int row = (panel * 32) + (place / 512 % 2 * 16) + (place / 2 % 16);
                int column = (place / 1024 * 32) + (place / 32 % 16 * 2) + (place % 2);
                ushort expected = row < rows && column < columns ? BFloat16.FromSingle(values[(row * columns) + column]) : (ushort)0;
                Assert.True(expected == start[place], $"row {row}, column {column}: {start[place]:x4}, not {expected:x4}");
            }
        }
    }
}
