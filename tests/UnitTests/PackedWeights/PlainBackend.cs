using InferenceServer.Tensors;
using InferenceServer.Tensors.Packed;

namespace InferenceServer.UnitTests.PackedWeights;

/// <summary>Gives the bytes of <see cref="PlainMatrix"/> away.</summary>
internal sealed class PlainBackend : IPackedWeightBackend
{
    /// <summary>Called before a part of a matrix is given away.</summary>
    public Action<WeightMatrix>? OnRead { get; set; }

    public string PackedLayout => "plain";

    public void ReadPacked(WeightMatrix matrix, long offset, Span<byte> destination)
    {
        OnRead?.Invoke(matrix);
        ((PlainMatrix)matrix).Bytes.AsSpan((int)offset, destination.Length).CopyTo(destination);
    }

    public void Prepare(PackedFile file)
    {
    }

    public WeightMatrix CreateMatrix(PackedFile file, PackedSection section) => throw new NotSupportedException("the tests read sections themselves");
}
