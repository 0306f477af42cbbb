using InferenceServer.Cuda.Launching;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launch geometry of elements.cuh: rows, each cut into pieces of 1024 elements.</summary>
/// <param name="Rows">Rows of the launch.</param>
/// <param name="Columns">Elements of a row.</param>
internal readonly record struct ElementGrid(int Rows, long Columns)
{
    public const int Threads = 256;

    private const int ElementsPerBlock = 1024;

    /// <summary>Blocks of a row.</summary>
    public int Pieces => Grid.Cover(Columns, ElementsPerBlock);

    public Grid Grid => new(checked(Rows * Pieces));

    /// <summary>Dense matrices of one shape as one row, others row by row.</summary>
    public static ElementGrid Over(TensorView x, TensorView y) => Over(x, x, y);

    /// <inheritdoc cref="Over(TensorView, TensorView)"/>
    public static ElementGrid Over(TensorView x, TensorView z, TensorView y) =>
        IsDense(x) && IsDense(z) && IsDense(y) ? new(1, (long)y.Rows * y.Columns) : new(y.Rows, y.Columns);

    /// <summary>Row by row: the operation needs to know the row or the column.</summary>
    public static ElementGrid ByRow(TensorView y) => new(y.Rows, y.Columns);

    private static bool IsDense(TensorView view) => view.RowStride == view.Columns || view.Rows <= 1;
}
