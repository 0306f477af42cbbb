using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Steps;

/// <summary>The current step, and what is derived from it once for all operations.</summary>
internal sealed class StepState
{
    /// <summary>Rows of a sequence that attention takes together.</summary>
    public const int RowsPerBlock = 16;

    private StepInputs? _inputs;
    private RowBlock[] _rowBlocks = new RowBlock[16];
    private int _rowBlockCount;

    /// <exception cref="InvalidOperationException">No step has begun.</exception>
    public StepInputs Inputs => _inputs ?? throw new InvalidOperationException("no step has begun");

    /// <summary>The step's rows in blocks of one sequence each, in row order.</summary>
    public ReadOnlySpan<RowBlock> RowBlocks => _rowBlocks.AsSpan(0, _rowBlockCount);

    /// <summary>Largest position of the step, -1 without rows.</summary>
    public int MaxPosition { get; private set; }

    /// <summary>Largest and smallest token id; (-1, 0) without rows.</summary>
    public (int Max, int Min) TokenRange { get; private set; }

    public void Begin(StepInputs inputs)
    {
        _inputs = inputs;
        _rowBlockCount = 0;
        MaxPosition = -1;
        int maxToken = -1;
        int minToken = 0;
        foreach (int token in inputs.Tokens)
        {
            maxToken = Math.Max(maxToken, token);
            minToken = Math.Min(minToken, token);
        }

        TokenRange = (maxToken, minToken);
        foreach (StepSequence sequence in inputs.Sequences)
        {
            MaxPosition = Math.Max(MaxPosition, sequence.ContextLength - 1);
            for (int row = 0; row < sequence.RowCount; row += RowsPerBlock)
            {
                if (_rowBlockCount == _rowBlocks.Length)
                {
                    Array.Resize(ref _rowBlocks, _rowBlocks.Length * 2);
                }

                _rowBlocks[_rowBlockCount++] = new RowBlock(
                    sequence.FirstRow + row,
                    Math.Min(RowsPerBlock, sequence.RowCount - row),
                    sequence.FirstPosition + row,
                    sequence.FirstBlock);
            }
        }
    }
}
