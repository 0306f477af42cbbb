using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches RmsNorm.cu; an addition to x that waits is done along with it.</summary>
internal sealed class RmsNorm
{
    private readonly KernelContext _context;
    private readonly KernelFunction _kernel;
    private readonly KernelFunction _addKernel;
    private readonly Add _add;

    public RmsNorm(KernelContext context, Add add)
    {
        _context = context;
        _kernel = context.Library["RmsNorm.cu"].Function("rms_norm", 256);
        _addKernel = context.Library["RmsNorm.cu"].Function("add_rms_norm", 256);
        _add = add;
    }

    public void Run(TensorView x, DeviceBuffer weight, float offset, float epsilon, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(x.Rows);
        if (x.Buffer != y.Buffer && _add.TryTake(x))
        {
            _context.Queue.Launch(
                _addKernel,
                new Grid(rows.Rows),
                _add.X,
                _add.XStride,
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
            return;
        }

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
