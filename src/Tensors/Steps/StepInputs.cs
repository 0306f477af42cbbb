using InferenceServer.Tensors.Sampling;

namespace InferenceServer.Tensors.Steps;

/// <summary>
/// All integers of one step: T tokens in one flat list, prefill chunks and decodes alike. Filled by the scheduler's plan, made visible to
/// the device by one <see cref="IComputeBackend.BeginStep"/>, reused from step to step.
/// </summary>
public sealed class StepInputs
{
    private readonly int[] _tokens;
    private readonly int[] _positions;
    private readonly int[] _sampledRows;
    private readonly StepSequence[] _sequences;
    private int[] _blockTable;
    private int _tokenCount;
    private int _sequenceCount;
    private int _sampledCount;
    private int _blockCount;

    /// <param name="maxTokens">Most rows of a step.</param>
    /// <param name="maxSequences">Most sequences of a step.</param>
    public StepInputs(int maxTokens, int maxSequences)
    {
        _tokens = new int[maxTokens];
        _positions = new int[maxTokens];
        _sampledRows = new int[maxTokens];
        _sequences = new StepSequence[maxSequences];
        _blockTable = new int[Math.Max(64, maxSequences * 8)];
    }

    /// <summary>Most rows of a step.</summary>
    public int MaxTokens => _tokens.Length;

    /// <summary>Most sequences of a step.</summary>
    public int MaxSequences => _sequences.Length;

    /// <summary>Rows T of this step.</summary>
    public int TokenCount => _tokenCount;

    /// <summary>Token ids <c>[T]</c>.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, _tokenCount);

    /// <summary>Positions in their sequences <c>[T]</c>.</summary>
    public ReadOnlySpan<int> Positions => _positions.AsSpan(0, _tokenCount);

    /// <summary>Rows whose logits are wanted, ascending.</summary>
    public ReadOnlySpan<int> SampledRows => _sampledRows.AsSpan(0, _sampledCount);

    /// <summary>The sequences, in row order.</summary>
    public ReadOnlySpan<StepSequence> Sequences => _sequences.AsSpan(0, _sequenceCount);

    /// <summary>KV block numbers of all sequences, one after the other.</summary>
    public ReadOnlySpan<int> BlockTable => _blockTable.AsSpan(0, _blockCount);

    /// <summary>Which rows take which adapters.</summary>
    public LoraBatch Lora { get; } = new();

    /// <summary>
    /// While an adapter is merged into the base: the rows that must not have it, with its inverse, applied before <see cref="Lora"/>.
    /// Empty when nothing is merged.
    /// </summary>
    public LoraBatch Restore { get; } = new();

    /// <summary><see cref="Restore"/> for the sampled rows; for the output head.</summary>
    public LoraBatch SampledRestore { get; } = new();

    /// <summary>The adapters of the sampled rows: the same groups, rows counted in <see cref="SampledRows"/>; for the output head.</summary>
    public LoraBatch SampledLora { get; } = new();

    /// <summary>
    /// How the tokens of <see cref="SampledRows"/> will be drawn, where <see cref="ISamplingBackend.Sample"/> is to be called with this very batch:
    /// then its settings travel with the step's integers. Empty otherwise.
    /// </summary>
    public SamplingBatch Sampling { get; } = new();

    /// <summary>The shape of the cache whose blocks these inputs were checked against, since they last changed.</summary>
    internal KvCacheShape? CheckedShape { get; set; }

    public void Clear()
    {
        CheckedShape = null;
        _tokenCount = 0;
        _sequenceCount = 0;
        _sampledCount = 0;
        _blockCount = 0;
        Lora.Clear();
        SampledLora.Clear();
        Restore.Clear();
        SampledRestore.Clear();
        Sampling.Clear();
    }

    /// <summary>Forgets the sampled rows and their groups; the rows themselves stay.</summary>
    public void ClearSampled()
    {
        _sampledCount = 0;
        SampledLora.Clear();
        SampledRestore.Clear();
        Sampling.Clear();
    }

    /// <summary>Appends consecutive tokens of one sequence.</summary>
    /// <param name="tokens">The tokens to compute.</param>
    /// <param name="firstPosition">Position of the first.</param>
    /// <param name="blocks">The sequence's KV blocks, enough for <paramref name="firstPosition"/> + the tokens.</param>
    /// <returns>The first row.</returns>
    public int AddSequence(ReadOnlySpan<int> tokens, int firstPosition, ReadOnlySpan<int> blocks)
    {
        CheckedShape = null;
        int firstRow = _tokenCount;
        tokens.CopyTo(_tokens.AsSpan(firstRow));
        for (int i = 0; i < tokens.Length; i++)
        {
            _positions[firstRow + i] = firstPosition + i;
        }

        _tokenCount += tokens.Length;
        if (_blockCount + blocks.Length > _blockTable.Length)
        {
            Array.Resize(ref _blockTable, Math.Max(_blockTable.Length * 2, _blockCount + blocks.Length));
        }

        blocks.CopyTo(_blockTable.AsSpan(_blockCount));
        _sequences[_sequenceCount++] = new StepSequence(firstRow, tokens.Length, firstPosition, _blockCount);
        _blockCount += blocks.Length;
        return firstRow;
    }

    /// <summary>Asks for the logits of a row; rows must be added in ascending order.</summary>
    /// <returns>The index of its logits among the sampled rows.</returns>
    public int AddSampledRow(int row)
    {
        _sampledRows[_sampledCount] = row;
        return _sampledCount++;
    }
}
