using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches UnpackWeights.cu: rows of a matrix as f32.</summary>
internal sealed class UnpackWeights
{
    private readonly KernelContext _context;
    private readonly Dictionary<WeightFormat, KernelFunction> _kernels;

    public UnpackWeights(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["UnpackWeights.cu"];
        _kernels = new Dictionary<WeightFormat, KernelFunction>
        {
            [WeightFormat.F32] = module.Function("unpack_f32", ElementGrid.Threads),
            [WeightFormat.BF16] = module.Function("unpack_bf16", ElementGrid.Threads),
            [WeightFormat.Int8] = module.Function("unpack_int8", ElementGrid.Threads),
            [WeightFormat.NF4] = module.Function("unpack_nf4", ElementGrid.Threads),
        };
    }

    /// <param name="weight">The matrix.</param>
    /// <param name="firstRow">First row.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="y">Receives <c>[rows, columns]</c>, dense.</param>
    public void Run(CudaWeightMatrix weight, int firstRow, int rows, ulong y)
    {
        ElementGrid grid = new(rows, weight.Columns);
        _context.Queue.Launch(
            _kernels[weight.Format],
            grid.Grid,
            weight.Address,
            weight.ScaleAddress,
            weight.Layout.Stride,
            firstRow,
            y,
            (ulong)grid.Columns,
            grid.Pieces);
    }
}
