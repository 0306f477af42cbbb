using InferenceServer.Cpu.Steps;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Kernels;

/// <summary>The work items of attention: some consecutive rows of one sequence with one kv head each; kept from call to call.</summary>
internal sealed class AttentionItems
{
    /// <summary>Queries of an item: enough that reading keys and values is little, few enough that their scores stay near.</summary>
    private const int QueriesPerItem = 64;

    private const int FewestRows = 8;

    private RowBlock[] _spans = new RowBlock[16];
    private int _spanCount;
    private int _kvHeads;
    private bool _headsFirst;

    /// <summary>Items.</summary>
    public int Count => _spanCount * _kvHeads;

    /// <summary>The rows of the items of each head.</summary>
    public ReadOnlySpan<RowBlock> Spans => _spans.AsSpan(0, _spanCount);

    /// <summary>Cuts the rows of a step.</summary>
    /// <param name="sequences">Its sequences.</param>
    /// <param name="kvHeads">Heads of keys and values.</param>
    /// <param name="groupSize">Query heads of each.</param>
    /// <param name="wanted">Items to make where rows are enough for that.</param>
    public void Fill(ReadOnlySpan<StepSequence> sequences, int kvHeads, int groupSize, int wanted)
    {
        _kvHeads = kvHeads;
        Cut(sequences, Math.Max(QueriesPerItem / groupSize / FewestRows, 1) * FewestRows);
        if (Count < wanted)
        {
            Cut(sequences, FewestRows);
        }

        // Of many rows a head's keys and values stay in the cache for all of them; of one row each, heads lie beside each other.
        _headsFirst = _spanCount > sequences.Length;
    }

    /// <summary>An item's kv head.</summary>
    public int Head(int item) => _headsFirst ? item / _spanCount : item % _kvHeads;

    /// <summary>An item's rows. Later rows of a prefill see more keys: the longest items go first, so that no thread is left with one at the end.</summary>
    public RowBlock Rows(int item) => _spans[_spanCount - 1 - (_headsFirst ? item % _spanCount : item / _kvHeads)];

    private void Cut(ReadOnlySpan<StepSequence> sequences, int mostRows)
    {
        _spanCount = 0;
        foreach (StepSequence sequence in sequences)
        {
            for (int row = 0; row < sequence.RowCount; row += mostRows)
            {
                if (_spanCount == _spans.Length)
                {
                    Array.Resize(ref _spans, _spans.Length * 2);
                }

                int rows = Math.Min(mostRows, sequence.RowCount - row);
                _spans[_spanCount++] = new RowBlock(sequence.FirstRow + row, rows, sequence.FirstPosition + row, sequence.FirstBlock);
            }
        }
    }
}
