using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches TrainingElements.cu.</summary>
internal sealed class TrainingElements
{
    private readonly KernelContext _context;
    private readonly KernelFunction _copy;
    private readonly KernelFunction _clear;
    private readonly KernelFunction _addScaled;
    private readonly KernelFunction _scaleColumns;
    private readonly KernelFunction _dropout;
    private readonly KernelFunction _adam;

    public TrainingElements(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["TrainingElements.cu"];
        _copy = module.Function("copy_elements", ElementGrid.Threads);
        _clear = module.Function("clear_elements", ElementGrid.Threads);
        _addScaled = module.Function("add_scaled", ElementGrid.Threads);
        _scaleColumns = module.Function("scale_columns", ElementGrid.Threads);
        _dropout = module.Function("dropout", ElementGrid.Threads);
        _adam = module.Function("adam", ElementGrid.Threads);
    }

    public void Copy(TensorView x, TensorView y)
    {
        ElementGrid grid = ElementGrid.Over(x, y);
        _context.Queue.Launch(
            _copy, grid.Grid, CudaBuffer.AddressOf(x), x.RowStride, CudaBuffer.AddressOf(y), y.RowStride, (ulong)grid.Columns, grid.Pieces);
    }

    public void Clear(TensorView y)
    {
        ElementGrid grid = ElementGrid.Over(y, y);
        _context.Queue.Launch(_clear, grid.Grid, CudaBuffer.AddressOf(y), y.RowStride, (ulong)grid.Columns, grid.Pieces);
    }

    public void AddScaled(float factor, TensorView x, TensorView y)
    {
        ElementGrid grid = ElementGrid.Over(x, y);
        _context.Queue.Launch(
            _addScaled,
            grid.Grid,
            factor,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            (ulong)grid.Columns,
            grid.Pieces);
    }

    public void ScaleColumns(TensorView x, TensorView factors, TensorView y, bool add)
    {
        ElementGrid grid = ElementGrid.ByRow(y);
        _context.Queue.Launch(
            _scaleColumns,
            grid.Grid,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(factors),
            CudaBuffer.AddressOf(y),
            y.RowStride,
            add ? 1 : 0,
            (ulong)grid.Columns,
            grid.Pieces);
    }

    public void Dropout(TensorView x, float rate, ulong seed, TensorView y, bool add)
    {
        ElementGrid grid = ElementGrid.Over(x, y);
        _context.Queue.Launch(
            _dropout,
            grid.Grid,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            (uint)(rate * (double)uint.MaxValue),
            1 / (1 - rate),
            seed,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            add ? 1 : 0,
            (ulong)grid.Columns,
            grid.Pieces);
    }

    public void Adam(AdamStep step, TensorView gradient, TensorView first, TensorView second, TensorView value)
    {
        ElementGrid grid = ElementGrid.Over(value, value);
        _context.Queue.Launch(
            _adam,
            grid.Grid,
            step.GradientFactor,
            step.Beta1,
            step.Beta2,
            step.Rate,
            step.RootCorrection,
            step.Epsilon,
            step.Shrink,
            step.ShrinkAfter ? 1 : 0,
            CudaBuffer.AddressOf(gradient),
            CudaBuffer.AddressOf(first),
            CudaBuffer.AddressOf(second),
            CudaBuffer.AddressOf(value),
            (ulong)grid.Columns,
            grid.Pieces);
    }
}
