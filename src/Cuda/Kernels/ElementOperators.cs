using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches ElementOperators.cu.</summary>
internal sealed class ElementOperators
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _scale;
    private readonly KernelFunction _addBias;
    private readonly KernelFunction _softCap;
    private readonly KernelFunction _activate;
    private readonly KernelFunction _gatedActivation;
    private readonly KernelFunction _gatherSampledRows;

    public ElementOperators(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["ElementOperators.cu"];
        _scale = module.Function("scale", Threads);
        _addBias = module.Function("add_bias", Threads);
        _softCap = module.Function("soft_cap", Threads);
        _activate = module.Function("activation", Threads);
        _gatedActivation = module.Function("gated_activation", Threads);
        _gatherSampledRows = module.Function("gather_sampled_rows", Threads);
    }

    public void Scale(float factor, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(y.Rows);
        _context.Queue.Launch(_scale, Over(rows, y), factor, CudaBuffer.AddressOf(y), y.RowStride, y.Columns, rows.Pointer, rows.Rows);
    }

    public void AddBias(DeviceBuffer bias, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(y.Rows);
        _context.Queue.Launch(
            _addBias, Over(rows, y), CudaBuffer.Of(bias).Address, CudaBuffer.AddressOf(y), y.RowStride, y.Columns, rows.Pointer, rows.Rows);
    }

    public void SoftCap(float cap, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(y.Rows);
        _context.Queue.Launch(_softCap, Over(rows, y), cap, CudaBuffer.AddressOf(y), y.RowStride, y.Columns, rows.Pointer, rows.Rows);
    }

    public void Activate(Activation activation, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(y.Rows);
        _context.Queue.Launch(
            _activate, Over(rows, y), (int)activation, CudaBuffer.AddressOf(y), y.RowStride, y.Columns, rows.Pointer, rows.Rows);
    }

    public void GatedActivation(TensorView x, Activation activation, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(y.Rows);
        _context.Queue.Launch(
            _gatedActivation,
            Over(rows, y),
            (int)activation,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            y.Columns,
            rows.Pointer,
            rows.Rows);
    }

    public void GatherSampledRows(TensorView x, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(y.Rows);
        _context.Queue.Launch(
            _gatherSampledRows,
            Over(rows, y),
            CudaBuffer.AddressOf(x),
            x.RowStride,
            _context.Step.Address(StepTable.SampledRows),
            CudaBuffer.AddressOf(y),
            y.RowStride,
            y.Columns,
            rows.Pointer,
            rows.Rows);
    }

    private static Grid Over(RowCount rows, TensorView y) => new(Grid.Cover(y.Columns, Threads), rows.Rows);
}
