using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches RmsNorm.cu.</summary>
internal sealed class RmsNorm
{
    private readonly KernelContext _context;
    private readonly KernelFunction _kernel;

    public RmsNorm(KernelContext context)
    {
        _context = context;
        _kernel = context.Library["RmsNorm.cu"].Function("rms_norm", 256);
    }

    public void Run(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(x.Rows);
        _context.Queue.Launch(
            _kernel,
            new Grid(rows.Rows),
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.Of(weight).Address,
            offset,
            epsilon,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            x.Columns,
            rows.Pointer,
            rows.Rows);
    }
}
