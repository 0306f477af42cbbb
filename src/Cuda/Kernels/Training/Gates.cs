using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches Gates.cu.</summary>
internal sealed class Gates
{
    private const int Threads = 256;
    private const int WarpsPerBlock = Threads / 32;

    private readonly KernelContext _context;
    private readonly UploadRing _uploads;
    private readonly KernelFunction _weights;
    private readonly KernelFunction _weightsBackward;
    private readonly KernelFunction _scaleBlocks;
    private readonly KernelFunction _blockProducts;

    public Gates(KernelContext context, UploadRing uploads)
    {
        _context = context;
        _uploads = uploads;
        KernelModule module = context.Library["Gates.cu"];
        _weights = module.Function("gate_weights", Threads);
        _weightsBackward = module.Function("gate_weights_backward", Threads);
        _scaleBlocks = module.Function("scale_blocks", Threads);
        _blockProducts = module.Function("block_products", Threads);
    }

    public void Softmax(TensorView x, TensorView? bias, float temperature, int topK, TensorView y) => _context.Queue.Launch(
        _weights,
        new Grid(Grid.Cover(x.Rows, WarpsPerBlock)),
        CudaBuffer.AddressOf(x),
        x.RowStride,
        bias is { } row ? CudaBuffer.AddressOf(row) : 0,
        temperature,
        topK,
        CudaBuffer.AddressOf(y),
        y.RowStride,
        x.Columns,
        x.Rows);

    public void SoftmaxBackward(TensorView y, float temperature, TensorView dy, TensorView dx) => _context.Queue.Launch(
        _weightsBackward,
        new Grid(Grid.Cover(y.Rows, WarpsPerBlock)),
        CudaBuffer.AddressOf(y),
        y.RowStride,
        temperature,
        CudaBuffer.AddressOf(dy),
        dy.RowStride,
        CudaBuffer.AddressOf(dx),
        dx.RowStride,
        y.Columns,
        y.Rows);

    public void ScaleBlocks(TensorView x, TensorView factors, ReadOnlySpan<int> sizes, TensorView y)
    {
        ElementGrid grid = ElementGrid.ByRow(y);
        if (grid.Grid.IsEmpty)
        {
            return;
        }

        _context.Queue.Launch(
            _scaleBlocks,
            grid.Grid,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(factors),
            factors.RowStride,
            Starts(sizes),
            CudaBuffer.AddressOf(y),
            y.RowStride,
            (ulong)grid.Columns,
            grid.Pieces);
    }

    public void BlockProducts(TensorView x, TensorView z, ReadOnlySpan<int> sizes, TensorView y)
    {
        Grid grid = new(Grid.Cover((long)x.Rows * sizes.Length, WarpsPerBlock));
        if (grid.IsEmpty)
        {
            return;
        }

        _context.Queue.Launch(
            _blockProducts,
            grid,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(z),
            z.RowStride,
            Starts(sizes),
            sizes.Length,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            x.Rows);
    }

    // First column of each block, and the end of the last.
    private ulong Starts(ReadOnlySpan<int> sizes)
    {
        Span<int> starts = stackalloc int[RankGate.MaxBlocks + 1];
        starts = sizes.Length < starts.Length ? starts[..(sizes.Length + 1)] : new int[sizes.Length + 1];
        starts[0] = 0;
        for (int i = 0; i < sizes.Length; i++)
        {
            starts[i + 1] = starts[i] + sizes[i];
        }

        return _uploads.Put(starts, _context.Queue.Stream());
    }
}
