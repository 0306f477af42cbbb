using InferenceServer.Tensors;

namespace InferenceServer.Training.Tape;

/// <summary>
/// Stands for a trained weight where the forward asks for a packed one; it holds nothing, <see cref="TrainedWeights"/> knows the parameter.
/// </summary>
internal sealed class ReplacementMatrix : WeightMatrix
{
    public ReplacementMatrix(int rows, int columns, string label)
        : base(rows, columns, WeightFormat.F32, label)
    {
    }

    public override long ByteCount => 0;

    protected override void Dispose(bool disposing)
    {
    }
}
