using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches LayerNormBackward.cu.</summary>
internal sealed class LayerNormBackward
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly ColumnSums _sums;
    private readonly KernelFunction _statistics;
    private readonly KernelFunction _backward;

    public LayerNormBackward(KernelContext context, ColumnSums sums)
    {
        _context = context;
        _sums = sums;
        KernelModule module = context.Library["LayerNormBackward.cu"];
        _statistics = module.Function("layer_norm_statistics", Threads);
        _backward = module.Function("layer_norm_backward", Threads);
    }

    public void Run(TensorView x, DeviceBuffer weight, float epsilon, TensorView dy, TensorView dx, TensorView? dweight, TensorView? dbias)
    {
        Grid rows = new(x.Rows);

        // Sums first, since dx may overwrite dy.
        if (dweight is { } weightSums)
        {
            ulong means = _context.Scratch.Take("means of norms", (long)x.Rows * sizeof(float));
            ulong factors = _context.Scratch.Take("factors of norms", (long)x.Rows * sizeof(float));
            _context.Queue.Launch(_statistics, rows, CudaBuffer.AddressOf(x), x.RowStride, epsilon, means, factors, x.Columns);
            _sums.Run(dy, x, means, factors, weightSums);
        }

        if (dbias is { } biasSums)
        {
            _sums.Run(dy, null, 0, 0, biasSums);
        }

        _context.Queue.Launch(
            _backward,
            rows,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.Of(weight).Address,
            epsilon,
            CudaBuffer.AddressOf(dy),
            dy.RowStride,
            CudaBuffer.AddressOf(dx),
            dx.RowStride,
            x.Columns);
    }
}
