using InferenceServer.Tensors;

namespace InferenceServer.UnitTests.PackedWeights;

/// <summary>A "packed" matrix of random bytes, one for each weight.</summary>
internal sealed class PlainMatrix : WeightMatrix
{
    public PlainMatrix(string label, int rows, int columns)
        : base(rows, columns, WeightFormat.BF16, label)
    {
        Bytes = new byte[rows * columns];
        new Random(rows + columns).NextBytes(Bytes);
    }

    public byte[] Bytes { get; }

    public override long ByteCount => Bytes.Length;

    protected override void Dispose(bool disposing)
    {
    }
}
