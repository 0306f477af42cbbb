using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Weights;

/// <summary>bf16, row by row as cuBLASLt takes them too; a row is padded to 16 bytes.</summary>
internal sealed class BFloat16Rows : WeightLayout
{
    public BFloat16Rows(int rows, int columns)
        : base(rows, columns) => Stride = (columns + 7) & ~7;

    public override int Stride { get; }

    public override long UnitBytes => (long)UnitRows * Stride * sizeof(ushort);

    public override void PackRow(ReadOnlySpan<float> weights, int row, Span<byte> unit, Span<byte> scales) =>
        FloatConversion.FromSingle(DType.BF16, weights, Row(unit, row));

    public override void ReadRow(ReadOnlySpan<byte> unit, ReadOnlySpan<byte> scales, int row, Span<float> target) =>
        FloatConversion.ToSingle(DType.BF16, unit.Slice(row * Stride * sizeof(ushort), Columns * sizeof(ushort)), target);

    private Span<byte> Row(Span<byte> unit, int row) => unit.Slice(row * Stride * sizeof(ushort), Columns * sizeof(ushort));
}
