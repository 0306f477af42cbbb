using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using InferenceServer.Tensors.Sampling;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Tensors;

/// <summary>
/// What the arguments of each operation of <see cref="IComputeBackend"/> must agree in, for every backend alike; a method allocates only for its
/// error.
/// </summary>
public static class OperationChecks
{
    public static void Read(TensorView source, Span<float> destination)
    {
        if (destination.Length != (long)source.Rows * source.Columns)
        {
            throw new ArgumentException($"{destination.Length} floats for a view of [{source.Rows}, {source.Columns}]");
        }
    }

    public static void Write(ReadOnlySpan<float> source, DeviceBuffer target)
    {
        if ((long)source.Length * sizeof(float) > target.ByteCount)
        {
            throw new ArgumentException($"{source.Length} floats exceed the {target.ByteCount} bytes of '{target.Label}'");
        }
    }

    public static void ReadMatrix(WeightMatrix matrix, int firstRow, Span<float> destination)
    {
        int rows = destination.Length / matrix.Columns;
        if (rows * matrix.Columns != destination.Length || firstRow < 0 || firstRow + (long)rows > matrix.Rows)
        {
            throw new ArgumentException(
                $"{destination.Length} floats from row {firstRow} are not rows of '{matrix.Label}' [{matrix.Rows}, {matrix.Columns}]");
        }
    }

    public static void Embed(StepInputs step, WeightMatrix table, int smallestToken, int largestToken, TensorView y)
    {
        RowsOfStep(step, y, nameof(Embed));
        Require(y.Columns == table.Columns, "Embed: y has {0} columns, the table {1}", y.Columns, table.Columns);
        Require(largestToken < table.Rows, "Embed: token {0} is beyond the table's {1} rows", largestToken, table.Rows);
        Require(smallestToken >= 0, "Embed: token {0} is below {1}", smallestToken, 0);
    }

    public static void AddPositions(StepInputs step, WeightMatrix table, int largestPosition, TensorView y)
    {
        RowsOfStep(step, y, nameof(AddPositions));
        Require(y.Columns == table.Columns, "AddPositions: y has {0} columns, the table {1}", y.Columns, table.Columns);
        Require(largestPosition < table.Rows, "AddPositions: position {0} is beyond the table's {1} rows", largestPosition, table.Rows);
    }

    public static void ApplyEmbeddingAdapters(StepInputs step, TensorView y)
    {
        RowsOfStep(step, y, nameof(ApplyEmbeddingAdapters));
        GroupsInside(step.Restore, y.Rows);
        GroupsInside(step.Lora, y.Rows);
    }

    public static void Norm(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, TensorView y, string operation)
    {
        SameShape(x, y, operation);
        Vector(weight, x.Columns, operation);
        if (bias is not null)
        {
            Vector(bias, x.Columns, operation);
        }
    }

    public static void MatMul(TensorView x, WeightMatrix weight, TensorView y)
    {
        Require(x.Rows == y.Rows, "MatMul: x has {0} rows, y {1}", x.Rows, y.Rows);
        Require(x.Columns == weight.Columns, "MatMul: x has {0} columns, the weight {1}", x.Columns, weight.Columns);
        Require(y.Columns == weight.Rows, "MatMul: y has {0} columns, the weight {1} rows", y.Columns, weight.Rows);
    }

    public static void ApplyAdapters(LoraBatch batch, ReadOnlySpan<ModuleColumns> modules, TensorView x, TensorView y)
    {
        Require(x.Rows == y.Rows, "ApplyAdapters: x has {0} rows, y {1}", x.Rows, y.Rows);
        GroupsInside(batch, y.Rows);
        foreach (ModuleColumns columns in modules)
        {
            Require(
                columns.FirstColumn >= 0 && columns.ColumnCount >= 0 && columns.ColumnCount <= y.Columns - columns.FirstColumn,
                "ApplyAdapters: columns from {0} on of {1}",
                columns.FirstColumn,
                y.Columns);
        }
    }

    public static void ScaleInputs(LoraBatch batch, TensorView x, TensorView y)
    {
        SameShape(x, y, nameof(ScaleInputs));
        GroupsInside(batch, y.Rows);
    }

    public static void ApplyReplacedRows(LoraBatch batch, TensorView x, TensorView y)
    {
        Require(x.Rows == y.Rows, "ApplyReplacedRows: x has {0} rows, y {1}", x.Rows, y.Rows);
        GroupsInside(batch, y.Rows);
    }

    public static void AddBias(DeviceBuffer bias, TensorView y) => Vector(bias, y.Columns, nameof(AddBias));

    public static void Add(TensorView x, TensorView y) => SameShape(x, y, nameof(Add));

    public static void Rope(StepInputs step, RopeTable table, int headSize, int largestPosition, TensorView x)
    {
        RowsOfStep(step, x, nameof(Rope));
        Require(headSize > 0 && x.Columns % headSize == 0, "Rope: {0} columns are not heads of {1}", x.Columns, headSize);
        Require(table.RotarySize % 2 == 0 && table.RotarySize <= headSize, "Rope: rotary size {0} in heads of {1}", table.RotarySize, headSize);
        Require(largestPosition < table.MaxPositions, "Rope: position {0} is beyond the table's {1}", largestPosition, table.MaxPositions);
        Vector(table.Cos, (long)table.MaxPositions * table.RotarySize / 2, nameof(Rope));
        Vector(table.Sin, (long)table.MaxPositions * table.RotarySize / 2, nameof(Rope));
    }

    public static void StoreKv(StepInputs step, TensorView k, TensorView v, KvCache cache, int layer)
    {
        SameShape(k, v, nameof(StoreKv));
        RowsOfStep(step, k, nameof(StoreKv));
        Blocks(step, cache, layer);
        int columns = cache.Shape.KvHeads * cache.Shape.HeadSize;
        Require(k.Columns == columns, "StoreKv: k has {0} columns, the cache {1}", k.Columns, columns);
    }

    public static void PagedAttention(StepInputs step, TensorView q, KvCache cache, int layer, AttentionParameters parameters, TensorView y)
    {
        SameShape(q, y, nameof(PagedAttention));
        RowsOfStep(step, q, nameof(PagedAttention));
        Blocks(step, cache, layer);
        KvCacheShape shape = cache.Shape;
        Require(parameters.KvHeads == shape.KvHeads, "PagedAttention: {0} kv heads, the cache has {1}", parameters.KvHeads, shape.KvHeads);
        Require(parameters.HeadSize == shape.HeadSize, "PagedAttention: head size {0}, the cache has {1}", parameters.HeadSize, shape.HeadSize);
        Require(parameters.Heads % shape.KvHeads == 0, "PagedAttention: {0} heads are no multiple of {1} kv heads", parameters.Heads, shape.KvHeads);
        int columns = parameters.Heads * parameters.HeadSize;
        Require(q.Columns == columns, "PagedAttention: q has {0} columns, the heads {1}", q.Columns, columns);
    }

    public static void GatedActivation(TensorView x, TensorView y)
    {
        Require(x.Rows == y.Rows, "GatedActivation: x has {0} rows, y {1}", x.Rows, y.Rows);
        Require(x.Columns == 2L * y.Columns, "GatedActivation: x has {0} columns, y {1}", x.Columns, y.Columns);
    }

    public static void GatherSampledRows(StepInputs step, TensorView x, TensorView y)
    {
        ReadOnlySpan<int> sampled = step.SampledRows;
        Require(y.Rows == sampled.Length, "GatherSampledRows: y has {0} rows, the step samples {1}", y.Rows, sampled.Length);
        Require(x.Columns == y.Columns, "GatherSampledRows: x has {0} columns, y {1}", x.Columns, y.Columns);
        foreach (int row in sampled)
        {
            Require((uint)row < (uint)x.Rows, "GatherSampledRows: row {0} of {1}", row, x.Rows);
        }
    }

    public static void Sample(TensorView logits, SamplingBatch batch, Span<SampledToken> tokens)
    {
        Require(logits.Rows == batch.Rows.Length, "Sample: {0} rows of logits, the batch has {1}", logits.Rows, batch.Rows.Length);
        Require(logits.Rows == tokens.Length, "Sample: {0} rows of logits, room for {1} tokens", logits.Rows, tokens.Length);

        // Histories are long: one pass by vectors, in which a negative token is the largest of all.
        ReadOnlySpan<uint> ids = MemoryMarshal.Cast<int, uint>(batch.Tokens);
        if (!ids.IsEmpty)
        {
            int largest = TensorPrimitives.IndexOfMax(ids);
            Require(ids[largest] < (uint)logits.Columns, "Sample: token {0} of {1}", (int)ids[largest], logits.Columns);
        }

        foreach ((int token, _) in batch.Biases)
        {
            Require((uint)token < (uint)logits.Columns, "Sample: token {0} of {1} has a bias", token, logits.Columns);
        }
    }

    private static void SameShape(TensorView x, TensorView y, string operation)
    {
        if (x.Rows != y.Rows || x.Columns != y.Columns)
        {
            throw new ArgumentException($"{operation}: [{x.Rows}, {x.Columns}] against [{y.Rows}, {y.Columns}]");
        }
    }

    private static void Vector(DeviceBuffer vector, long count, string operation)
    {
        if (vector.ByteCount < count * sizeof(float))
        {
            throw new ArgumentException($"{operation}: '{vector.Label}' has {vector.ByteCount} bytes, {count} floats are needed");
        }
    }

    private static void GroupsInside(LoraBatch batch, int rows)
    {
        foreach (LoraGroup group in batch.Groups)
        {
            if (group.FirstRow < 0 || group.RowCount < 0 || group.FirstRow + (long)group.RowCount > rows)
            {
                throw new ArgumentException($"adapter rows {group.FirstRow} + {group.RowCount} exceed {rows} rows");
            }
        }
    }

    private static void RowsOfStep(StepInputs step, TensorView view, string operation)
    {
        if (view.Rows != step.TokenCount)
        {
            throw new ArgumentException($"{operation}: the view has {view.Rows} rows, the step {step.TokenCount}");
        }
    }

    private static void Blocks(StepInputs step, KvCache cache, int layer)
    {
        if ((uint)layer >= (uint)cache.Shape.Layers)
        {
            throw new ArgumentException($"layer {layer} of {cache.Shape.Layers} in the KV cache");
        }

        // Every layer asks, and a step has thousands of blocks.
        if (ReferenceEquals(step.CheckedShape, cache.Shape))
        {
            return;
        }

        foreach (StepSequence sequence in step.Sequences)
        {
            int blocks = (sequence.ContextLength + cache.Shape.BlockSize - 1) / cache.Shape.BlockSize;
            if (sequence.FirstBlock + blocks > step.BlockTable.Length)
            {
                throw new ArgumentException($"a sequence of {sequence.ContextLength} tokens has fewer than {blocks} KV blocks");
            }

            foreach (int block in step.BlockTable.Slice(sequence.FirstBlock, blocks))
            {
                if ((uint)block >= (uint)cache.Shape.Blocks)
                {
                    throw new ArgumentException($"KV block {block} of {cache.Shape.Blocks}");
                }
            }
        }

        step.CheckedShape = cache.Shape;
    }

    private static void Require(bool condition, string format, int first, int second)
    {
        if (!condition)
        {
            Throw(format, first, second);
        }
    }

    [DoesNotReturn]
    private static void Throw(string format, int first, int second) =>
        throw new ArgumentException(string.Format(CultureInfo.InvariantCulture, format, first, second));
}
