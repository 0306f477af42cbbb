namespace InferenceServer.Cpu.Steps;

/// <summary>Up to <see cref="StepState.RowsPerBlock"/> consecutive rows of one sequence: attention reads their keys and values together.</summary>
/// <param name="FirstRow">First row of the step.</param>
/// <param name="RowCount">Rows.</param>
/// <param name="FirstPosition">Position of the first row.</param>
/// <param name="FirstBlock">Index in the block table of the sequence's first KV block.</param>
internal readonly record struct RowBlock(int FirstRow, int RowCount, int FirstPosition, int FirstBlock)
{
    /// <summary>Position of the last row.</summary>
    public int LastPosition => FirstPosition + RowCount - 1;
}
