using InferenceServer.Models.Merging;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Training.Export;

/// <summary>
/// What an adapter makes of a module's stored weight: <c>W' = diag(g) W diag(l) + B A</c>, or the weight or rows that it brings. Rows are
/// those of the file, which keeps embeddings and GPT-2's matrices the other way round than the forward writes them.
/// </summary>
internal sealed class FoldedWeight
{
    private readonly LowRankDelta _stored;
    private readonly HostMatrix? _replacement;
    private readonly ReplacedRows? _rows;
    private readonly bool _addsLast;
    private readonly bool _isReplacementTurned;

    public FoldedWeight(ModuleShape module, LowRankDelta delta)
    {
        bool isEmbedding = module.Kind == ModuleKind.Embedding;
        _replacement = delta.Replacement;
        _rows = delta.ReplacedRows;
        _isReplacementTurned = module.Kind == ModuleKind.Conv1D;
        LowRankDelta folded = delta.Replacement is null
            ? delta
            : new LowRankDelta { A = isEmbedding ? delta.A : null, B = isEmbedding ? delta.B : null };
        _stored = isEmbedding || module.Kind == ModuleKind.Conv1D ? Turn(folded) : folded;

        // Serving adds to a replaced token's embedding, but takes a replaced row of the output head as it is.
        _addsLast = isEmbedding;
    }

    /// <summary>Changes stored rows in place.</summary>
    /// <param name="firstRow">The first of them.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="rows">The base's values.</param>
    public void Apply(int firstRow, int columns, Span<float> rows)
    {
        for (int row = 0; row < rows.Length / columns; row++)
        {
            Span<float> values = rows.Slice(row * columns, columns);
            int stored = firstRow + row;
            if (_replacement is not null)
            {
                Replace(_replacement, stored, values);
            }

            int replaced = _rows is null ? -1 : Array.BinarySearch(_rows.Tokens, stored);
            if (_addsLast && replaced >= 0)
            {
                _rows!.Values.Row(replaced).CopyTo(values);
            }

            WeightFold.Row(_stored, stored, values);
            if (!_addsLast && replaced >= 0)
            {
                _rows!.Values.Row(replaced).CopyTo(values);
            }
        }
    }

    private void Replace(HostMatrix replacement, int row, Span<float> values)
    {
        if (!_isReplacementTurned)
        {
            replacement.Row(row).CopyTo(values);
            return;
        }

        for (int column = 0; column < values.Length; column++)
        {
            values[column] = replacement.Values[(column * replacement.Columns) + row];
        }
    }

    private static LowRankDelta Turn(LowRankDelta delta) => new()
    {
        A = delta.B is null ? null : Turn(delta.B),
        B = delta.A is null ? null : Turn(delta.A),
        OutputScale = delta.InputScale,
        InputScale = delta.OutputScale,
    };

    private static HostMatrix Turn(HostMatrix matrix)
    {
        float[] values = new float[matrix.Values.Length];
        for (int row = 0; row < matrix.Rows; row++)
        {
            ReadOnlySpan<float> source = matrix.Row(row);
            for (int column = 0; column < source.Length; column++)
            {
                values[(column * matrix.Rows) + row] = source[column];
            }
        }

        return new HostMatrix(matrix.Columns, matrix.Rows, values);
    }
}
