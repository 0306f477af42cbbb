using System.Runtime.InteropServices;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cuda.Weights;

/// <summary>
/// <see cref="GroupInt8"/> as tensor cores take it: a unit is one record of 1024 bytes for each 64 inputs, its scales one of 64 bytes.
/// </summary>
/// <remarks>
/// A record has 2 parts of 32 inputs, a part 16 bytes for each of the warp's 32 lanes, which are the fragments of two successive 16 x 16
/// tiles ("Matrix Fragments for mma.m16n8k16": lane l has rows l / 4 and l / 4 + 8, and of each half of a tile's inputs 2 (l % 4) and the
/// next). A word of them has the pair of row l / 4 in bytes 0 and 2 and that of row l / 4 + 8 in bytes 1 and 3, so that a mask and a shift part
/// them. The scales of a part are a pair of bf16 for each l / 4: those of both its rows.
/// </remarks>
internal sealed class Int8Tiles : WeightLayout
{
    public const int RecordInputs = 64;
    private const int RecordBytes = UnitRows * RecordInputs;
    private const int PartBytes = 512;
    private const int RecordScales = UnitRows * RecordInputs / GroupInt8.GroupSize;

    public Int8Tiles(int rows, int columns)
        : base(rows, columns) => Stride = (columns + RecordInputs - 1) / RecordInputs;

    public override int Stride { get; }

    public override long UnitBytes => (long)Stride * RecordBytes;

    public override long UnitScaleBytes => (long)Stride * RecordScales * sizeof(ushort);

    public override void PackRow(ReadOnlySpan<float> weights, int row, Span<byte> unit, Span<byte> scales)
    {
        Span<sbyte> target = MemoryMarshal.Cast<byte, sbyte>(unit);
        Span<ushort> groupScales = MemoryMarshal.Cast<byte, ushort>(scales);
        Span<sbyte> codes = stackalloc sbyte[GroupInt8.GroupSize];
        for (int first = 0; first < Columns; first += GroupInt8.GroupSize)
        {
            int count = Math.Min(GroupInt8.GroupSize, Columns - first);
            groupScales[ScaleOf(row, first)] = GroupInt8.Encode(weights.Slice(first, count), codes[..count]);
            for (int i = 0; i < count; i++)
            {
                target[PlaceOf(row, first + i)] = codes[i];
            }
        }
    }

    public override void ReadRow(ReadOnlySpan<byte> unit, ReadOnlySpan<byte> scales, int row, Span<float> target)
    {
        ReadOnlySpan<ushort> groupScales = MemoryMarshal.Cast<byte, ushort>(scales);
        for (int k = 0; k < Columns; k++)
        {
            target[k] = (sbyte)unit[PlaceOf(row, k)] * BFloat16.ToSingle(groupScales[ScaleOf(row, k)]);
        }
    }

    // Byte of a code in its unit.
    private static int PlaceOf(int row, int k)
    {
        int lane = ((row % 8) * 4) + (k % 8 / 2);
        int word = (k % 32 / 16 * 2) + (k % 16 / 8);
        int inWord = (k % 2 * 2) + (row / 8);
        return (k / 32 * PartBytes) + (lane * 16) + (word * 4) + inWord;
    }

    private static int ScaleOf(int row, int k) => (k / GroupInt8.GroupSize * UnitRows) + (row % 8 * 2) + (row / 8);
}
