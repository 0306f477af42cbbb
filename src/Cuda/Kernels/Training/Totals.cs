using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Devices;
using InferenceServer.Cuda.Interop;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches Totals.cu and reads what it makes: the only operations of training that wait for the device.</summary>
internal sealed unsafe class Totals : IDisposable
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _squares;
    private readonly KernelFunction _add;
    private readonly KernelFunction _lengths;
    private readonly PinnedBuffer _result = new(sizeof(double));

    public Totals(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["Totals.cu"];
        _squares = module.Function("squares_of_pieces", Threads);
        _add = module.Function("add_pieces", Threads);
        _lengths = module.Function("row_lengths", Threads);
    }

    /// <summary>Sum of all squares; waits for the device once.</summary>
    public double Squares(ReadOnlySpan<TensorView> x)
    {
        int count = 0;
        foreach (TensorView part in x)
        {
            count = checked(count + ElementGrid.Over(part, part).Grid.X);
        }

        if (count == 0)
        {
            return 0;
        }

        ulong partial = _context.Scratch.Take("squares", (long)count * sizeof(double));
        ulong next = partial;
        foreach (TensorView part in x)
        {
            ElementGrid grid = ElementGrid.Over(part, part);
            _context.Queue.Launch(_squares, grid.Grid, CudaBuffer.AddressOf(part), part.RowStride, next, (ulong)grid.Columns, grid.Pieces);
            next += (ulong)grid.Grid.X * sizeof(double);
        }

        return Read(partial, count);
    }

    /// <summary>Sum of doubles on the device.</summary>
    /// <param name="partial">Their address.</param>
    /// <param name="count">How many.</param>
    public double Read(ulong partial, int count)
    {
        ulong total = _context.Scratch.Take("total", sizeof(double));
        _context.Queue.Launch(_add, new Grid(1), partial, count, total);
        CudaStream stream = _context.Queue.Stream();
        CudaDriver.Check(CudaDriver.CopyToHost(_result.Pointer, total, sizeof(double), stream.Pointer), "copy of a sum");
        stream.Synchronize();
        _context.Scratch.FreeOutgrown();
        return *(double*)_result.Pointer;
    }

    /// <summary><c>lengths[row] = |x[row]|</c> of dense rows on the device.</summary>
    public void RowLengths(ulong x, int rows, int columns, ulong lengths) =>
        _context.Queue.Launch(_lengths, new Grid(rows), x, columns, columns, lengths);

    public void Dispose() => _result.Dispose();
}
