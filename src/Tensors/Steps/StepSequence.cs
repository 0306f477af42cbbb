namespace InferenceServer.Tensors.Steps;

/// <summary>The part of a step that belongs to one sequence: consecutive rows that are consecutive tokens of it.</summary>
/// <param name="FirstRow">First row of the step.</param>
/// <param name="RowCount">Tokens computed in this step (1 at decode, more in a prefill chunk).</param>
/// <param name="FirstPosition">Position of the first of these tokens; all earlier ones are in the KV cache.</param>
/// <param name="FirstBlock">Index in <see cref="StepInputs.BlockTable"/> of the sequence's first KV block.</param>
public readonly record struct StepSequence(int FirstRow, int RowCount, int FirstPosition, int FirstBlock)
{
    /// <summary>Tokens in the KV cache once the step has stored its own.</summary>
    public int ContextLength => FirstPosition + RowCount;
}
