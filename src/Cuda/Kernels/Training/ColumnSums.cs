using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches ColumnSums.cu.</summary>
internal sealed class ColumnSums
{
    private const int Threads = 256;
    private const int ColumnsPerBlock = 32;
    private const int SliceRows = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _slices;
    private readonly KernelFunction _add;

    public ColumnSums(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["ColumnSums.cu"];
        _slices = module.Function("column_sums_of_slices", Threads);
        _add = module.Function("add_slices", Threads);
    }

    /// <summary><c>sums[h] += sum over t of x[t, h] (z[t, h] - means[t]) factors[t]</c>.</summary>
    /// <param name="x">Rows.</param>
    /// <param name="z">Rows of the same shape, or null for ones.</param>
    /// <param name="means">Address of a float a row, or 0 for zeros.</param>
    /// <param name="factors">Address of a float a row, or 0 for ones.</param>
    /// <param name="sums">One row.</param>
    public void Run(TensorView x, TensorView? z, ulong means, ulong factors, TensorView sums)
    {
        int slices = Grid.Cover(x.Rows, SliceRows);
        if (slices == 0)
        {
            return;
        }

        ulong partial = _context.Scratch.Take("column sums", (long)slices * x.Columns * sizeof(float));
        _context.Queue.Launch(
            _slices,
            new Grid(Grid.Cover(x.Columns, ColumnsPerBlock), slices),
            CudaBuffer.AddressOf(x),
            x.RowStride,
            z is { } other ? CudaBuffer.AddressOf(other) : 0,
            z?.RowStride ?? 0,
            means,
            factors,
            partial,
            x.Columns,
            x.Rows);
        _context.Queue.Launch(
            _add, new Grid(Grid.Cover(x.Columns, Threads)), partial, slices, CudaBuffer.AddressOf(sums), x.Columns);
    }
}
