namespace InferenceServer.Tensors.Adapters;

/// <summary>What an adapter changes of consecutive rows of a matrix that several modules share.</summary>
/// <param name="FirstRow">First row.</param>
/// <param name="RowCount">Rows; those of B, of the output scale, or of the module.</param>
/// <param name="Delta">The change.</param>
public readonly record struct RowChange(int FirstRow, int RowCount, LowRankDelta Delta);
