using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches RmsNormBackward.cu.</summary>
internal sealed class RmsNormBackward
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly ColumnSums _sums;
    private readonly KernelFunction _factors;
    private readonly KernelFunction _backward;

    public RmsNormBackward(KernelContext context, ColumnSums sums)
    {
        _context = context;
        _sums = sums;
        KernelModule module = context.Library["RmsNormBackward.cu"];
        _factors = module.Function("rms_norm_factors", Threads);
        _backward = module.Function("rms_norm_backward", Threads);
    }

    public void Run(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView dy, TensorView dx, TensorView? dweight)
    {
        Grid rows = new(x.Rows);
        if (dweight is { } sums)
        {
            // First, since dx may overwrite dy.
            ulong factors = _context.Scratch.Take("factors of norms", (long)x.Rows * sizeof(float));
            _context.Queue.Launch(_factors, rows, CudaBuffer.AddressOf(x), x.RowStride, epsilon, factors, x.Columns);
            _sums.Run(dy, x, 0, factors, sums);
        }

        _context.Queue.Launch(
            _backward,
            rows,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.Of(weight).Address,
            offset,
            epsilon,
            CudaBuffer.AddressOf(dy),
            dy.RowStride,
            CudaBuffer.AddressOf(dx),
            dx.RowStride,
            x.Columns);
    }
}
