using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Kernels;
using InferenceServer.Cuda.Kernels.Training;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Products;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Training;

/// <summary>
/// The operations of <see cref="ITrainingBackend"/> on the device. They return before they are done, except those that give a number:
/// <see cref="CrossEntropy"/> and <see cref="SumOfSquares"/> wait.
/// </summary>
internal sealed class CudaTrainingBackend : ITrainingBackend
{
    private readonly KernelContext _context;
    private readonly UploadRing _uploads;
    private readonly TrainingElements _elements;
    private readonly TrainingProducts _products;
    private readonly ColumnSums _columnSums;
    private readonly IndexedRows _indexed;
    private readonly RmsNormBackward _rmsNorm;
    private readonly LayerNormBackward _layerNorm;
    private readonly RopeBackward _rope;
    private readonly AttentionBackward _attention;
    private readonly ActivationBackward _activation;
    private readonly Totals _totals;
    private readonly CrossEntropy _crossEntropy;
    private readonly Gates _gates;
    private readonly FrozenWeights _frozen;

    public CudaTrainingBackend(KernelContext context)
    {
        _context = context;
        context.Device.MakeCurrent();
        _uploads = new UploadRing(context.Device);
        _elements = new TrainingElements(context);
        _products = new TrainingProducts(context);
        _columnSums = new ColumnSums(context);
        _indexed = new IndexedRows(context, _uploads);
        _rmsNorm = new RmsNormBackward(context, _columnSums);
        _layerNorm = new LayerNormBackward(context, _columnSums);
        _rope = new RopeBackward(context, _uploads);
        _attention = new AttentionBackward(context, _uploads);
        _activation = new ActivationBackward(context);
        _totals = new Totals(context);
        _crossEntropy = new CrossEntropy(context, _uploads, _totals);
        _gates = new Gates(context, _uploads);
        _frozen = new FrozenWeights(context, _products, _totals);
    }

    /// <summary>Waits for the device.</summary>
    public void Dispose()
    {
        // No check: a device that is lost can still be closed.
        _ = CudaDriver.SetCurrentContext(_context.Device.Context);
        _context.Queue.Drop();
        _products.Dispose();
        _totals.Dispose();
        _uploads.Dispose();
    }

    public void Copy(TensorView x, TensorView y)
    {
        TrainingOperationChecks.Same(x, y, nameof(Copy));
        _elements.Copy(x, y);
    }

    public void Clear(TensorView y) => _elements.Clear(y);

    public void AddScaled(float factor, TensorView x, TensorView y)
    {
        TrainingOperationChecks.Same(x, y, nameof(AddScaled));
        _elements.AddScaled(factor, x, y);
    }

    public void MultiplyTransposed(float factor, TensorView x, TensorView w, TensorView y, bool add)
    {
        TrainingOperationChecks.MultiplyTransposed(x, w, y);
        _products.Run(factor, LtMatrix.Of(x), LtMatrix.Transposed(w), y, add);
    }

    public void Multiply(float factor, TensorView x, TensorView w, TensorView y, bool add)
    {
        TrainingOperationChecks.Multiply(x, w, y);
        _products.Run(factor, LtMatrix.Of(x), LtMatrix.Of(w), y, add);
    }

    public void AddTransposedProduct(float factor, TensorView x, TensorView z, TensorView y)
    {
        TrainingOperationChecks.AddTransposedProduct(x, z, y);
        _products.Run(factor, LtMatrix.Transposed(x), LtMatrix.Of(z), y, add: true);
    }

    public void MatMulBackward(TensorView dy, WeightMatrix weight, TensorView dx)
    {
        TrainingOperationChecks.MatMulBackward(dy, weight, dx);
        _frozen.AddGradient(dy, CudaWeightMatrix.Of(weight), dx);
        GC.KeepAlive(weight);
    }

    public void ScaleColumns(TensorView x, TensorView factors, TensorView y, bool add)
    {
        TrainingOperationChecks.ScaleColumns(x, factors, y);
        _elements.ScaleColumns(x, factors, y, add);
    }

    public void AddColumnSums(TensorView x, TensorView? z, TensorView sums)
    {
        TrainingOperationChecks.AddColumnSums(x, z, sums);
        _columnSums.Run(x, z, 0, 0, sums);
    }

    public void GatherRows(TensorView table, ReadOnlySpan<int> rows, TensorView y)
    {
        TrainingOperationChecks.IndexedRows(table, rows, y, nameof(GatherRows));
        _indexed.Gather(table, byColumn: false, rows, y);
    }

    public void ScatterRows(TensorView dy, ReadOnlySpan<int> rows, TensorView dtable)
    {
        TrainingOperationChecks.IndexedRows(dtable, rows, dy, nameof(ScatterRows));
        _indexed.Scatter(dy, rows, dtable, byColumn: false);
    }

    public void GatherColumns(TensorView table, ReadOnlySpan<int> columns, TensorView y)
    {
        TrainingOperationChecks.IndexedColumns(table, columns, y, nameof(GatherColumns));
        _indexed.Gather(table, byColumn: true, columns, y);
    }

    public void ScatterColumns(TensorView dy, ReadOnlySpan<int> columns, TensorView dtable)
    {
        TrainingOperationChecks.IndexedColumns(dtable, columns, dy, nameof(ScatterColumns));
        _indexed.Scatter(dy, columns, dtable, byColumn: true);
    }

    public void RmsNormBackward(
        TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView dy, TensorView dx, TensorView? dweight)
    {
        TrainingOperationChecks.NormBackward(x, dy, dx, dweight, null, nameof(RmsNormBackward));
        _rmsNorm.Run(x, weight, offset, epsilon, dy, dx, dweight);
    }

    public void LayerNormBackward(
        TensorView x, DeviceBuffer weight, float epsilon, TensorView dy, TensorView dx, TensorView? dweight, TensorView? dbias)
    {
        TrainingOperationChecks.NormBackward(x, dy, dx, dweight, dbias, nameof(LayerNormBackward));
        _layerNorm.Run(x, weight, epsilon, dy, dx, dweight, dbias);
    }

    public void RopeBackward(RopeTable table, int headSize, ReadOnlySpan<int> positions, TensorView dx)
    {
        TrainingOperationChecks.RopeBackward(table, headSize, positions, dx);
        _rope.Run(table, headSize, positions, dx);
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
        _attention.Run(q, k, v, sequences, parameters, dy, dq, dk, dv);
    }

    public void GatedActivationBackward(TensorView x, Activation activation, TensorView dy, TensorView dx)
    {
        TrainingOperationChecks.GatedActivationBackward(x, dy, dx);
        _activation.Gated(x, activation, dy, dx);
    }

    public void ActivationBackward(TensorView x, Activation activation, TensorView dy)
    {
        TrainingOperationChecks.Same(x, dy, nameof(ActivationBackward));
        _activation.Alone(x, activation, dy);
    }

    public void SoftCapBackward(TensorView y, float cap, TensorView dy)
    {
        TrainingOperationChecks.Same(y, dy, nameof(SoftCapBackward));
        _activation.SoftCap(y, cap, dy);
    }

    public double CrossEntropy(TensorView logits, ReadOnlySpan<int> labels, float factor, TensorView dlogits)
    {
        TrainingOperationChecks.CrossEntropy(logits, labels, dlogits);
        return _crossEntropy.Run(logits, labels, factor, dlogits);
    }

    public void Dropout(TensorView x, float rate, ulong seed, TensorView y, bool add)
    {
        TrainingOperationChecks.Dropout(x, rate, y);
        _elements.Dropout(x, rate, seed, y, add);
    }

    public void GateSoftmax(TensorView x, TensorView? bias, float temperature, int topK, TensorView y)
    {
        TrainingOperationChecks.GateSoftmax(x, bias, topK, y);
        _gates.Softmax(x, bias, temperature, topK, y);
    }

    public void GateSoftmaxBackward(TensorView y, float temperature, TensorView dy, TensorView dx)
    {
        TrainingOperationChecks.GateSoftmaxBackward(y, dy, dx);
        _gates.SoftmaxBackward(y, temperature, dy, dx);
    }

    public void ScaleBlocks(TensorView x, TensorView factors, ReadOnlySpan<int> sizes, TensorView y)
    {
        TrainingOperationChecks.Same(x, y, nameof(ScaleBlocks));
        TrainingOperationChecks.Blocks(x, factors, sizes, nameof(ScaleBlocks));
        _gates.ScaleBlocks(x, factors, sizes, y);
    }

    public void BlockProducts(TensorView x, TensorView z, ReadOnlySpan<int> sizes, TensorView y)
    {
        TrainingOperationChecks.Same(x, z, nameof(BlockProducts));
        TrainingOperationChecks.Blocks(x, y, sizes, nameof(BlockProducts));
        _gates.BlockProducts(x, z, sizes, y);
    }

    public double SumOfSquares(ReadOnlySpan<TensorView> x) => _totals.Squares(x);

    public void AdaptedRowNorms(WeightMatrix weight, int firstRow, TensorView a, TensorView b, float factor, TensorView norms)
    {
        TrainingOperationChecks.AdaptedRowNorms(weight, firstRow, a, b, norms);
        _frozen.AdaptedRowNorms(CudaWeightMatrix.Of(weight), firstRow, a, b, factor, norms);
        GC.KeepAlive(weight);
    }

    public void Adam(AdamStep step, TensorView gradient, TensorView first, TensorView second, TensorView value)
    {
        TrainingOperationChecks.Adam(gradient, first, second, value);
        _elements.Adam(step, gradient, first, second, value);
    }
}
