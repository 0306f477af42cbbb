using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches GatherRows.cu: rows of a table in any format, by an index of the step.</summary>
internal sealed class GatherRows
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly Dictionary<WeightFormat, KernelFunction> _kernels;

    public GatherRows(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["GatherRows.cu"];
        _kernels = new Dictionary<WeightFormat, KernelFunction>
        {
            [WeightFormat.F32] = module.Function("gather_f32", Threads),
            [WeightFormat.BF16] = module.Function("gather_bf16", Threads),
            [WeightFormat.Int8] = module.Function("gather_int8", Threads),
            [WeightFormat.NF4] = module.Function("gather_nf4", Threads),
        };
    }

    /// <summary><c>y[t] = table[index[t]]</c>, or added to y; every index is below the table's rows (checked by the caller).</summary>
    public void Run(CudaWeightMatrix table, StepTable index, TensorView y, bool add)
    {
        RowCount rows = _context.Step.RowsOf(y.Rows);
        _context.Queue.Launch(
            _kernels[table.Format],
            new Grid(Grid.Cover(y.Columns, Threads), rows.Rows),
            table.Address,
            table.ScaleAddress,
            table.Layout.Stride,
            _context.Step.Address(index),
            add ? 1 : 0,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            y.Columns,
            rows.Pointer,
            rows.Rows);
    }
}
