using InferenceServer.Tensors.Adapters;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Tensors;

/// <summary>
/// What the arguments of each operation of <see cref="ITrainingBackend"/> must agree in, for every backend alike; a method allocates only for its
/// error.
/// </summary>
public static class TrainingOperationChecks
{
    /// <summary>Operations from element to element.</summary>
    public static void Same(TensorView x, TensorView y, string operation) =>
        Require(x.Rows == y.Rows && x.Columns == y.Columns, operation, x, x, y);

    public static void MultiplyTransposed(TensorView x, TensorView w, TensorView y) =>
        Require(x.Rows == y.Rows && x.Columns == w.Columns && y.Columns == w.Rows, nameof(MultiplyTransposed), x, w, y);

    public static void Multiply(TensorView x, TensorView w, TensorView y) =>
        Require(x.Rows == y.Rows && x.Columns == w.Rows && y.Columns == w.Columns, nameof(Multiply), x, w, y);

    public static void AddTransposedProduct(TensorView x, TensorView z, TensorView y) =>
        Require(x.Rows == z.Rows && x.Columns == y.Rows && z.Columns == y.Columns, nameof(AddTransposedProduct), x, z, y);

    public static void MatMulBackward(TensorView dy, WeightMatrix weight, TensorView dx) =>
        Require(dy.Rows == dx.Rows && dy.Columns == weight.Rows && dx.Columns == weight.Columns, nameof(MatMulBackward), dy, dy, dx);

    public static void ScaleColumns(TensorView x, TensorView factors, TensorView y)
    {
        Same(x, y, nameof(ScaleColumns));
        Require(factors.Rows == 1 && factors.Columns == x.Columns, nameof(ScaleColumns), x, factors, y);
    }

    public static void AddColumnSums(TensorView x, TensorView? z, TensorView sums) => Require(
        sums.Rows == 1 && sums.Columns == x.Columns && (z is null || (z.Value.Rows == x.Rows && z.Value.Columns == x.Columns)),
        nameof(AddColumnSums),
        x,
        z ?? x,
        sums);

    /// <summary>Rows of a table gathered to, or scattered from, the rows of y.</summary>
    public static void IndexedRows(TensorView table, ReadOnlySpan<int> rows, TensorView y, string operation)
    {
        Require(rows.Length == y.Rows && table.Columns == y.Columns, operation, table, table, y);
        Indices(rows, table.Rows, operation);
    }

    /// <summary>Columns of a table gathered to, or scattered from, the rows of y.</summary>
    public static void IndexedColumns(TensorView table, ReadOnlySpan<int> columns, TensorView y, string operation)
    {
        Require(columns.Length == y.Rows && table.Rows == y.Columns, operation, table, table, y);
        Indices(columns, table.Columns, operation);
    }

    public static void NormBackward(TensorView x, TensorView dy, TensorView dx, TensorView? dweight, TensorView? dbias, string operation)
    {
        Same(x, dy, operation);
        Same(x, dx, operation);
        Require(dweight is null || (dweight.Value.Rows == 1 && dweight.Value.Columns == x.Columns), operation, x, dweight ?? x, dx);
        Require(dbias is null || (dbias.Value.Rows == 1 && dbias.Value.Columns == x.Columns), operation, x, dbias ?? x, dx);
    }

    public static void RopeBackward(RopeTable table, int headSize, ReadOnlySpan<int> positions, TensorView dx)
    {
        Require(positions.Length == dx.Rows && dx.Columns % headSize == 0, nameof(RopeBackward), dx, dx, dx);
        Indices(positions, table.MaxPositions, nameof(RopeBackward));
    }

    public static void AttentionBackward(
        TensorView q,
        TensorView k,
        TensorView v,
        ReadOnlySpan<StepSequence> sequences,
        AttentionParameters parameters,
        TensorView dy,
        TensorView dq,
        TensorView dk,
        TensorView dv)
    {
        Same(q, dy, nameof(AttentionBackward));
        Same(q, dq, nameof(AttentionBackward));
        Same(k, v, nameof(AttentionBackward));
        Same(k, dk, nameof(AttentionBackward));
        Same(v, dv, nameof(AttentionBackward));
        Require(
            q.Rows == k.Rows && q.Columns == parameters.Heads * parameters.HeadSize && k.Columns == parameters.KvHeads * parameters.HeadSize,
            nameof(AttentionBackward),
            q,
            k,
            dy);
        foreach (StepSequence sequence in sequences)
        {
            if (sequence.FirstPosition != 0 || sequence.FirstRow < 0 || sequence.FirstRow + sequence.RowCount > q.Rows)
            {
                throw new ArgumentException($"AttentionBackward: {sequence} is not a whole sequence within {q.Rows} rows");
            }
        }
    }

    public static void GatedActivationBackward(TensorView x, TensorView dy, TensorView dx)
    {
        Same(x, dx, nameof(GatedActivationBackward));
        Require(x.Rows == dy.Rows && x.Columns == 2 * dy.Columns, nameof(GatedActivationBackward), x, dy, dx);
    }

    public static void CrossEntropy(TensorView logits, ReadOnlySpan<int> labels, TensorView dlogits)
    {
        Same(logits, dlogits, nameof(CrossEntropy));
        Require(labels.Length == logits.Rows, nameof(CrossEntropy), logits, logits, dlogits);
        foreach (int label in labels)
        {
            if (label != ITrainingBackend.IgnoredLabel)
            {
                Index(label, logits.Columns, nameof(CrossEntropy));
            }
        }
    }

    public static void Dropout(TensorView x, float rate, TensorView y)
    {
        Same(x, y, nameof(Dropout));
        if (rate is not (>= 0 and < 1))
        {
            throw new ArgumentException($"Dropout: rate {rate} is not from 0 to below 1");
        }
    }

    public static void GateSoftmax(TensorView x, TensorView? bias, int topK, TensorView y)
    {
        Same(x, y, nameof(GateSoftmax));
        Require(
            x.Columns <= RankGate.MaxBlocks && topK >= 1 && topK <= x.Columns && (bias is null || (bias.Value.Rows == 1 && bias.Value.Columns == x.Columns)),
            nameof(GateSoftmax),
            x,
            bias ?? x,
            y);
    }

    public static void GateSoftmaxBackward(TensorView y, TensorView dy, TensorView dx)
    {
        Same(y, dy, nameof(GateSoftmaxBackward));
        Same(y, dx, nameof(GateSoftmaxBackward));
    }

    /// <summary>The blocks must fill the row: their sizes are what keeps loops over them inside it.</summary>
    public static void Blocks(TensorView x, TensorView factors, ReadOnlySpan<int> sizes, string operation)
    {
        long columns = 0;
        foreach (int size in sizes)
        {
            columns += size < 0 ? int.MaxValue : size;
        }

        Require(columns == x.Columns && factors.Rows == x.Rows && factors.Columns == sizes.Length, operation, x, factors, x);
    }

    public static void AdaptedRowNorms(WeightMatrix weight, int firstRow, TensorView a, TensorView b, TensorView norms) => Require(
        a.Columns == weight.Columns && a.Rows == b.Columns && norms.Rows == 1 && norms.Columns == b.Rows && firstRow >= 0
            && firstRow + b.Rows <= weight.Rows,
        nameof(AdaptedRowNorms),
        a,
        b,
        norms);

    public static void Adam(TensorView gradient, TensorView first, TensorView second, TensorView value)
    {
        Same(value, gradient, nameof(Adam));
        Same(value, first, nameof(Adam));
        Same(value, second, nameof(Adam));
        Require(IsDense(value) && IsDense(gradient) && IsDense(first) && IsDense(second), nameof(Adam), value, gradient, first);
    }

    private static bool IsDense(TensorView view) => view.RowStride == view.Columns || view.Rows <= 1;

    private static void Indices(ReadOnlySpan<int> indices, int count, string operation)
    {
        foreach (int index in indices)
        {
            Index(index, count, operation);
        }
    }

    private static void Index(int index, int count, string operation)
    {
        if ((uint)index >= (uint)count)
        {
            throw new ArgumentException($"{operation}: index {index} is not below {count}");
        }
    }

    private static void Require(bool condition, string operation, TensorView x, TensorView w, TensorView y)
    {
        if (!condition)
        {
            throw new ArgumentException($"{operation}: [{x.Rows}, {x.Columns}] with [{w.Rows}, {w.Columns}] into [{y.Rows}, {y.Columns}]");
        }
    }
}
