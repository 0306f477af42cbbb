using System.Runtime.InteropServices;

namespace InferenceServer.Cuda.Weights;

/// <summary>f32, row by row; a row is padded to 16 bytes.</summary>
internal sealed class Float32Rows : WeightLayout
{
    public Float32Rows(int rows, int columns)
        : base(rows, columns) => Stride = (columns + 3) & ~3;

    public override int Stride { get; }

    public override long UnitBytes => (long)UnitRows * Stride * sizeof(float);

    public override void PackRow(ReadOnlySpan<float> weights, int row, Span<byte> unit, Span<byte> scales) =>
        weights.CopyTo(MemoryMarshal.Cast<byte, float>(unit)[(row * Stride)..]);

    public override void ReadRow(ReadOnlySpan<byte> unit, ReadOnlySpan<byte> scales, int row, Span<float> target) =>
        MemoryMarshal.Cast<byte, float>(unit).Slice(row * Stride, Columns).CopyTo(target);
}
