using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches UnpackRows.cu: rows of a quantised matrix as bf16, for cuBLASLt.</summary>
internal sealed class UnpackRows
{
    private const int Threads = 256;
    private const int BlockInputs = 2 * Threads;

    private readonly KernelContext _context;
    private readonly KernelFunction _int8;
    private readonly KernelFunction _nf4;

    public UnpackRows(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["UnpackRows.cu"];
        _int8 = module.Function("unpack_int8", Threads);
        _nf4 = module.Function("unpack_nf4", Threads);
    }

    /// <param name="weight">In Int8 or NF4.</param>
    /// <param name="firstRow">First row.</param>
    /// <param name="rows">Rows, at most 65535.</param>
    /// <param name="y">Receives bf16.</param>
    /// <param name="stride">Elements from one row of y to the next: the inputs rounded up to a multiple of 8.</param>
    public void Run(CudaWeightMatrix weight, int firstRow, int rows, ulong y, int stride) => _context.Queue.Launch(
        weight.Format == WeightFormat.Int8 ? _int8 : _nf4,
        new Grid(Grid.Cover(stride, BlockInputs), rows),
        weight.Address,
        weight.ScaleAddress,
        weight.Layout.Stride,
        firstRow,
        y,
        stride);
}
