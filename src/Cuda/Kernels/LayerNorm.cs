using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches LayerNorm.cu.</summary>
internal sealed class LayerNorm
{
    private readonly KernelContext _context;
    private readonly KernelFunction _kernel;

    public LayerNorm(KernelContext context)
    {
        _context = context;
        _kernel = context.Library["LayerNorm.cu"].Function("layer_norm", 256);
    }

    public void Run(TensorView x, DeviceBuffer weight, DeviceBuffer? bias, float epsilon, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(x.Rows);
        _context.Queue.Launch(
            _kernel,
            new Grid(rows.Rows),
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.Of(weight).Address,
            bias is null ? 0UL : CudaBuffer.Of(bias).Address,
            epsilon,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            x.Columns,
            rows.Pointer,
            rows.Rows);
    }
}
