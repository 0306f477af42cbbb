using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches NarrowRows.cu: activations as bf16, for cuBLASLt.</summary>
internal sealed class NarrowRows
{
    private const int Threads = 256;

    // Rows of the grid; a block goes on with every so manieth row.
    private const int MostRows = 32768;

    private readonly KernelContext _context;
    private readonly KernelFunction _kernel;

    public NarrowRows(KernelContext context)
    {
        _context = context;
        _kernel = context.Library["NarrowRows.cu"].Function("narrow_rows", Threads);
    }

    /// <param name="x">The rows.</param>
    /// <param name="y">Receives bf16.</param>
    /// <param name="stride">Elements from one row of y to the next, at least x's columns.</param>
    public void Run(TensorView x, ulong y, int stride) => _context.Queue.Launch(
        _kernel,
        new Grid(Grid.Cover(x.Columns, Threads), Math.Min(x.Rows, MostRows)),
        CudaBuffer.AddressOf(x),
        x.RowStride,
        y,
        stride,
        x.Columns,
        x.Rows);
}
