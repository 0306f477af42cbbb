using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches ActivationBackward.cu.</summary>
internal sealed class ActivationBackward
{
    private readonly KernelContext _context;
    private readonly KernelFunction _alone;
    private readonly KernelFunction _gated;
    private readonly KernelFunction _softCap;

    public ActivationBackward(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["ActivationBackward.cu"];
        _alone = module.Function("activation_backward", ElementGrid.Threads);
        _gated = module.Function("gated_activation_backward", ElementGrid.Threads);
        _softCap = module.Function("soft_cap_backward", ElementGrid.Threads);
    }

    public void Alone(TensorView x, Activation activation, TensorView dy)
    {
        ElementGrid grid = ElementGrid.Over(x, dy);
        _context.Queue.Launch(
            _alone,
            grid.Grid,
            (int)activation,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(dy),
            dy.RowStride,
            (ulong)grid.Columns,
            grid.Pieces);
    }

    public void Gated(TensorView x, Activation activation, TensorView dy, TensorView dx)
    {
        ElementGrid grid = ElementGrid.ByRow(dy);
        _context.Queue.Launch(
            _gated,
            grid.Grid,
            (int)activation,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(dy),
            dy.RowStride,
            CudaBuffer.AddressOf(dx),
            dx.RowStride,
            (ulong)grid.Columns,
            grid.Pieces);
    }

    public void SoftCap(TensorView y, float cap, TensorView dy)
    {
        ElementGrid grid = ElementGrid.Over(y, dy);
        _context.Queue.Launch(
            _softCap,
            grid.Grid,
            cap,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            CudaBuffer.AddressOf(dy),
            dy.RowStride,
            (ulong)grid.Columns,
            grid.Pieces);
    }
}
