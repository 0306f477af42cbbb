using System.Numerics.Tensors;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Simd;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cpu.Training;

/// <summary>The operations of <see cref="ITrainingBackend"/> for one vector width. Every operation is done when its call returns.</summary>
internal sealed unsafe partial class CpuTrainingBackend<TSimd, TVector> : ITrainingBackend
    where TSimd : struct, ISimd<TVector>
    where TVector : struct
{
    /// <summary>Up to here the gradient of a weight is computed turned; as many columns as the ranks of most adapters.</summary>
    private const int NarrowColumns = 64;

    private readonly CpuBackend _backend;
    private readonly Gemm<TSimd, TVector> _gemm;
    private readonly MoveRows _move;
    private readonly RowSquares _squares;
    private readonly AttentionBackward<TSimd, TVector> _attention;
    private readonly ElementMap<TSimd, TVector, AddScaledOperator<TSimd, TVector>> _addScaled;
    private readonly ElementMap<TSimd, TVector, ProductOperator<TSimd, TVector>> _product;
    private readonly ElementMap<TSimd, TVector, SoftCapBackwardOperator<TSimd, TVector>> _softCap;
    private readonly ElementMap<TSimd, TVector, ActivationBackwardOperator<TSimd, TVector>> _activation;
    private readonly RmsNormBackward _rmsNorm;
    private readonly LayerNormBackward _layerNorm;
    private readonly RopeBackward _rope;
    private readonly ColumnSums _columnSums;
    private readonly CrossEntropy _crossEntropy;
    private readonly Dropout _dropout;
    private readonly AdaptedRowNorms _rowNorms;
    private readonly AdamUpdate _adam;
    private float[] _rowFactors = [];

    public CpuTrainingBackend(CpuBackend backend)
    {
        _backend = backend;
        WorkerPool pool = backend.Pool;
        WorkerScratch scratch = backend.Scratch;
        _gemm = new Gemm<TSimd, TVector>(pool, scratch);
        _move = new MoveRows(pool);
        _squares = new RowSquares(pool);
        _attention = new AttentionBackward<TSimd, TVector>(pool, scratch);
        _addScaled = new ElementMap<TSimd, TVector, AddScaledOperator<TSimd, TVector>>(pool);
        _product = new ElementMap<TSimd, TVector, ProductOperator<TSimd, TVector>>(pool);
        _softCap = new ElementMap<TSimd, TVector, SoftCapBackwardOperator<TSimd, TVector>>(pool);
        _activation = new ElementMap<TSimd, TVector, ActivationBackwardOperator<TSimd, TVector>>(pool);
        _rmsNorm = new RmsNormBackward(pool, scratch, _squares);
        _layerNorm = new LayerNormBackward(pool, scratch);
        _rope = new RopeBackward(pool, scratch);
        _columnSums = new ColumnSums(pool);
        _crossEntropy = new CrossEntropy(pool);
        _dropout = new Dropout(pool);
        _rowNorms = new AdaptedRowNorms(pool, scratch);
        _adam = new AdamUpdate(pool);
    }

    public void Dispose()
    {
        _layerNorm.Dispose();
        _gemm.Dispose();
    }

    public void Copy(TensorView x, TensorView y)
    {
        TrainingOperationChecks.Same(x, y, nameof(Copy));
        _move.Run(new Rows(x), new Rows(y), x.Rows, x.Columns);
        KeepAlive(x, y);
    }

    public void Clear(TensorView y)
    {
        _move.Run(null, new Rows(y), y.Rows, y.Columns);
        GC.KeepAlive(y.Buffer);
    }

    public void AddScaled(float factor, TensorView x, TensorView y)
    {
        TrainingOperationChecks.Same(x, y, nameof(AddScaled));
        Rows from = new(x);
        _addScaled.Run(new AddScaledOperator<TSimd, TVector>(factor), from, from, from, new Rows(y), y.Rows, y.Columns);
        KeepAlive(x, y);
    }

    public void MultiplyTransposed(float factor, TensorView x, TensorView w, TensorView y, bool add)
    {
        TrainingOperationChecks.MultiplyTransposed(x, w, y);
        _gemm.Run(factor, GemmSource.Of(x), GemmSource.Transposed(w), new Rows(y), x.Rows, w.Rows, x.Columns, add);
        KeepAlive(x, w, y);
    }

    public void Multiply(float factor, TensorView x, TensorView w, TensorView y, bool add)
    {
        TrainingOperationChecks.Multiply(x, w, y);
        _gemm.Run(factor, GemmSource.Of(x), GemmSource.Of(w), new Rows(y), x.Rows, w.Columns, x.Columns, add);
        KeepAlive(x, w, y);
    }

    public void AddTransposedProduct(float factor, TensorView x, TensorView z, TensorView y)
    {
        TrainingOperationChecks.AddTransposedProduct(x, z, y);
        if (y.Columns <= NarrowColumns && y.Rows > y.Columns)
        {
            _gemm.RunNarrow(factor, x, z, new Rows(y));
        }
        else
        {
            _gemm.Run(factor, GemmSource.Transposed(x), GemmSource.Of(z), new Rows(y), y.Rows, y.Columns, x.Rows, add: true);
        }

        KeepAlive(x, z, y);
    }

    public void MatMulBackward(TensorView dy, WeightMatrix weight, TensorView dx)
    {
        TrainingOperationChecks.MatMulBackward(dy, weight, dx);
        _gemm.Run(
            1f,
            GemmSource.Of(dy),
            GemmSource.Of(CpuWeightMatrix.Of(weight)),
            new Rows(dx),
            dy.Rows,
            weight.Columns,
            weight.Rows,
            add: true);
        KeepAlive(dy, dx);
        GC.KeepAlive(weight);
    }

    public void ScaleColumns(TensorView x, TensorView factors, TensorView y, bool add)
    {
        TrainingOperationChecks.ScaleColumns(x, factors, y);
        Rows from = new(x);
        _product.Run(
            new ProductOperator<TSimd, TVector>(add),
            from,
            new Rows(CpuBuffer.PointerOf(factors), 0),
            from,
            new Rows(y),
            y.Rows,
            y.Columns);
        KeepAlive(x, factors, y);
    }

    public void AddColumnSums(TensorView x, TensorView? z, TensorView sums)
    {
        TrainingOperationChecks.AddColumnSums(x, z, sums);
        _columnSums.Run(new Rows(x), z is { } other ? new Rows(other) : null, null, CpuBuffer.PointerOf(sums), x.Rows, x.Columns);
        KeepAlive(x, z ?? x, sums);
    }

    public void GatherRows(TensorView table, ReadOnlySpan<int> rows, TensorView y)
    {
        TrainingOperationChecks.IndexedRows(table, rows, y, nameof(GatherRows));
        Rows from = new(table);
        Rows to = new(y);
        for (int i = 0; i < rows.Length; i++)
        {
            new ReadOnlySpan<float>(from.At(rows[i]), y.Columns).CopyTo(new Span<float>(to.At(i), y.Columns));
        }

        KeepAlive(table, y);
    }

    public void ScatterRows(TensorView dy, ReadOnlySpan<int> rows, TensorView dtable)
    {
        TrainingOperationChecks.IndexedRows(dtable, rows, dy, nameof(ScatterRows));
        Rows from = new(dy);
        Rows to = new(dtable);
        for (int i = 0; i < rows.Length; i++)
        {
            Span<float> sum = new(to.At(rows[i]), dy.Columns);
            TensorPrimitives.Add(sum, new ReadOnlySpan<float>(from.At(i), dy.Columns), sum);
        }

        KeepAlive(dy, dtable);
    }

    public void GatherColumns(TensorView table, ReadOnlySpan<int> columns, TensorView y)
    {
        TrainingOperationChecks.IndexedColumns(table, columns, y, nameof(GatherColumns));
        Rows from = new(table);
        Rows to = new(y);
        for (int i = 0; i < columns.Length; i++)
        {
            float* row = to.At(i);
            for (int r = 0; r < table.Rows; r++)
            {
                row[r] = from.At(r)[columns[i]];
            }
        }

        KeepAlive(table, y);
    }

    public void ScatterColumns(TensorView dy, ReadOnlySpan<int> columns, TensorView dtable)
    {
        TrainingOperationChecks.IndexedColumns(dtable, columns, dy, nameof(ScatterColumns));
        Rows from = new(dy);
        Rows to = new(dtable);
        for (int i = 0; i < columns.Length; i++)
        {
            float* row = from.At(i);
            for (int r = 0; r < dtable.Rows; r++)
            {
                to.At(r)[columns[i]] += row[r];
            }
        }

        KeepAlive(dy, dtable);
    }

    public void RmsNormBackward(
        TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView dy, TensorView dx, TensorView? dweight)
    {
        TrainingOperationChecks.NormBackward(x, dy, dx, dweight, null, nameof(RmsNormBackward));
        Rows input = new(x);
        Rows gradient = new(dy);
        _rmsNorm.FindFactors(input, epsilon, x.Rows, x.Columns);
        if (dweight is { } sums)
        {
            if (_rowFactors.Length < x.Rows)
            {
                _rowFactors = new float[x.Rows];
            }

            _rmsNorm.Factors[..x.Rows].CopyTo(_rowFactors);
            _columnSums.Run(gradient, input, _rowFactors, CpuBuffer.PointerOf(sums), x.Rows, x.Columns);
        }

        _rmsNorm.Run(input, CpuBuffer.Of(weight).Pointer, offset, gradient, new Rows(dx), x.Rows, x.Columns);
        KeepAlive(x, dy, dx);
        GC.KeepAlive(weight);
        GC.KeepAlive(dweight?.Buffer);
    }

    public void LayerNormBackward(
        TensorView x, DeviceBuffer weight, float epsilon, TensorView dy, TensorView dx, TensorView? dweight, TensorView? dbias)
    {
        TrainingOperationChecks.NormBackward(x, dy, dx, dweight, dbias, nameof(LayerNormBackward));
        Rows input = new(x);
        Rows gradient = new(dy);
        _layerNorm.Normalise(input, epsilon, x.Rows, x.Columns);
        if (dweight is { } weightSums)
        {
            _columnSums.Run(gradient, _layerNorm.Normed, null, CpuBuffer.PointerOf(weightSums), x.Rows, x.Columns);
        }

        if (dbias is { } biasSums)
        {
            _columnSums.Run(gradient, null, null, CpuBuffer.PointerOf(biasSums), x.Rows, x.Columns);
        }

        _layerNorm.Run(input, CpuBuffer.Of(weight).Pointer, epsilon, gradient, new Rows(dx), x.Rows, x.Columns);
        KeepAlive(x, dy, dx);
        GC.KeepAlive(weight);
        GC.KeepAlive(dweight?.Buffer);
        GC.KeepAlive(dbias?.Buffer);
    }

    public void RopeBackward(RopeTable table, int headSize, ReadOnlySpan<int> positions, TensorView dx)
    {
        TrainingOperationChecks.RopeBackward(table, headSize, positions, dx);
        _rope.Run(
            new Rows(dx),
            CpuBuffer.Of(table.Cos).Pointer,
            CpuBuffer.Of(table.Sin).Pointer,
            table.RotarySize / 2,
            dx.Columns / headSize,
            headSize,
            positions);
        GC.KeepAlive(table);
        GC.KeepAlive(dx.Buffer);
    }

    public void AttentionBackward(
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
        TrainingOperationChecks.AttentionBackward(q, k, v, sequences, parameters, dy, dq, dk, dv);
        _attention.Run(
            new Rows(q), new Rows(k), new Rows(v), sequences, parameters, new Rows(dy), new Rows(dq), new Rows(dk), new Rows(dv));
        KeepAlive(q, k, v);
        KeepAlive(dq, dk, dv);
        GC.KeepAlive(dy.Buffer);
    }

    public void GatedActivationBackward(TensorView x, Activation activation, TensorView dy, TensorView dx)
    {
        TrainingOperationChecks.GatedActivationBackward(x, dy, dx);
        int width = dy.Columns;
        Rows gates = new(x);
        Rows values = new(x.SliceColumns(width, width));
        Rows gradient = new(dy);
        _activation.Run(
            new ActivationBackwardOperator<TSimd, TVector>(activation, ActivationGradient.Gate),
            gates,
            gradient,
            values,
            new Rows(dx),
            x.Rows,
            width);
        _activation.Run(
            new ActivationBackwardOperator<TSimd, TVector>(activation, ActivationGradient.Gated),
            gates,
            gradient,
            values,
            new Rows(dx.SliceColumns(width, width)),
            x.Rows,
            width);
        KeepAlive(x, dy, dx);
    }

    public void ActivationBackward(TensorView x, Activation activation, TensorView dy)
    {
        TrainingOperationChecks.Same(x, dy, nameof(ActivationBackward));
        Rows input = new(x);
        _activation.Run(
            new ActivationBackwardOperator<TSimd, TVector>(activation, ActivationGradient.Plain),
            input,
            input,
            input,
            new Rows(dy),
            x.Rows,
            x.Columns);
        KeepAlive(x, dy);
    }

    public void SoftCapBackward(TensorView y, float cap, TensorView dy)
    {
        TrainingOperationChecks.Same(y, dy, nameof(SoftCapBackward));
        Rows output = new(y);
        _softCap.Run(new SoftCapBackwardOperator<TSimd, TVector>(cap), output, output, output, new Rows(dy), y.Rows, y.Columns);
        KeepAlive(y, dy);
    }

    public double CrossEntropy(TensorView logits, ReadOnlySpan<int> labels, float factor, TensorView dlogits)
    {
        TrainingOperationChecks.CrossEntropy(logits, labels, dlogits);
        double loss = _crossEntropy.Run(new Rows(logits), labels, factor, new Rows(dlogits), logits.Columns);
        KeepAlive(logits, dlogits);
        return loss;
    }

    public void Dropout(TensorView x, float rate, ulong seed, TensorView y, bool add)
    {
        TrainingOperationChecks.Dropout(x, rate, y);
        _dropout.Run(new Rows(x), rate, seed, new Rows(y), x.Rows, x.Columns, add);
        KeepAlive(x, y);
    }

    public double SumOfSquares(ReadOnlySpan<TensorView> x)
    {
        double total = 0;
        foreach (TensorView part in x)
        {
            double sum = 0;
            foreach (float square in _squares.Run(new Rows(part), part.Rows, part.Columns))
            {
                sum += square;
            }

            GC.KeepAlive(part.Buffer);
            total += sum;
        }

        return total;
    }

    public void AdaptedRowNorms(WeightMatrix weight, int firstRow, TensorView a, TensorView b, float factor, TensorView norms)
    {
        TrainingOperationChecks.AdaptedRowNorms(weight, firstRow, a, b, norms);
        _rowNorms.Run(CpuWeightMatrix.Of(weight), firstRow, new Rows(a), new Rows(b), a.Rows, factor, CpuBuffer.PointerOf(norms), b.Rows);
        KeepAlive(a, b, norms);
        GC.KeepAlive(weight);
    }

    public void Adam(AdamStep step, TensorView gradient, TensorView first, TensorView second, TensorView value)
    {
        TrainingOperationChecks.Adam(gradient, first, second, value);
        _adam.Run(
            step,
            CpuBuffer.PointerOf(gradient),
            CpuBuffer.PointerOf(first),
            CpuBuffer.PointerOf(second),
            CpuBuffer.PointerOf(value),
            (long)value.Rows * value.Columns);
        KeepAlive(gradient, first, second);
        GC.KeepAlive(value.Buffer);
    }

    // Raw pointers do not keep their owner alive: an unreferenced buffer could be finalized in the middle of an operation.
    private void KeepAlive(TensorView x, TensorView y)
    {
        GC.KeepAlive(_backend);
        GC.KeepAlive(x.Buffer);
        GC.KeepAlive(y.Buffer);
    }

    private void KeepAlive(TensorView x, TensorView w, TensorView y)
    {
        KeepAlive(x, y);
        GC.KeepAlive(w.Buffer);
    }
}
