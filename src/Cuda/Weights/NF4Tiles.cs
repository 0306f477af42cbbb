using System.Runtime.InteropServices;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cuda.Weights;

/// <summary>
/// <see cref="NormalFloat4"/> as tensor cores take it: a unit is one record of 512 bytes for each block of 64 inputs, its scales one of 16 f32, as
/// their own quantisation (<see cref="DynamicByte"/>) leaves them.
/// </summary>
/// <remarks>
/// A record has 16 bytes for each of the warp's 32 lanes; their four words are the fragments of four successive 16 x 16 tiles ("Matrix
/// Fragments for mma.m16n8k16"). A word's byte r is register r of the fragment, a pair of inputs, the first in its low half. Scales are in
/// pairs for each l / 4: of rows l / 4 and l / 4 + 8.
/// </remarks>
internal sealed class NF4Tiles : WeightLayout
{
    private const int RecordBytes = UnitRows * NormalFloat4.BlockSize / 2;
    private const byte Zeros = NormalFloat4.ZeroCode * 0x11;

    public NF4Tiles(int rows, int columns)
        : base(rows, columns) => Stride = (columns + NormalFloat4.BlockSize - 1) / NormalFloat4.BlockSize;

    public override int Stride { get; }

    public override long UnitBytes => (long)Stride * RecordBytes;

    public override long UnitScaleBytes => (long)Stride * UnitRows * sizeof(float);

    public override void PackRow(ReadOnlySpan<float> weights, int row, Span<byte> unit, Span<byte> scales)
    {
        if (row == 0)
        {
            unit.Fill(Zeros);
        }

        Span<float> blockScales = MemoryMarshal.Cast<byte, float>(scales);
        Span<byte> codes = stackalloc byte[NormalFloat4.BlockSize];
        for (int first = 0; first < Columns; first += NormalFloat4.BlockSize)
        {
            int count = Math.Min(NormalFloat4.BlockSize, Columns - first);
            blockScales[ScaleOf(row, first)] = NormalFloat4.Encode(weights.Slice(first, count), codes[..count]);
            for (int i = 0; i < count; i++)
            {
                ref byte pair = ref unit[PlaceOf(row, first + i)];
                pair = i % 2 == 0 ? (byte)((pair & 0xf0) | codes[i]) : (byte)((pair & 0x0f) | (codes[i] << 4));
            }
        }
    }

    public override void Finish(Span<byte> scales)
    {
        // The definition goes through the blocks in row-major order.
        Span<float> own = MemoryMarshal.Cast<byte, float>(scales);
        int unitScales = Stride * UnitRows;
        float[] ordered = new float[(long)Rows * Stride];
        for (int i = 0; i < ordered.Length; i++)
        {
            (int row, int block) = Math.DivRem(i, Stride);
            ordered[i] = own[(row / UnitRows * unitScales) + ScaleOf(row % UnitRows, block * NormalFloat4.BlockSize)];
        }

        DynamicByte.Round(ordered);
        for (int i = 0; i < ordered.Length; i++)
        {
            (int row, int block) = Math.DivRem(i, Stride);
            own[(row / UnitRows * unitScales) + ScaleOf(row % UnitRows, block * NormalFloat4.BlockSize)] = ordered[i];
        }
    }

    public override void ReadRow(ReadOnlySpan<byte> unit, ReadOnlySpan<byte> scales, int row, Span<float> target)
    {
        ReadOnlySpan<float> blockScales = MemoryMarshal.Cast<byte, float>(scales);
        ReadOnlySpan<float> values = NormalFloat4.Values;
        for (int k = 0; k < Columns; k++)
        {
            target[k] = values[(unit[PlaceOf(row, k)] >> (k % 2 * 4)) & 15] * blockScales[ScaleOf(row, k)];
        }
    }

    // Byte of a pair of codes in its unit.
    private static int PlaceOf(int row, int k)
    {
        int lane = ((row % 8) * 4) + (k % 8 / 2);
        int register = (row / 8) + (k % 16 / 8 * 2);
        return (k / NormalFloat4.BlockSize * RecordBytes) + (lane * 16) + (k % NormalFloat4.BlockSize / 16 * 4) + register;
    }

    private static int ScaleOf(int row, int k) => (k / NormalFloat4.BlockSize * UnitRows) + (row % 8 * 2) + (row / 8);
}
