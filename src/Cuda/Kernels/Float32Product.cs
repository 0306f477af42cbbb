using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Cuda.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches ProductF32.cu: products with f32 weights, for any number of rows.</summary>
internal sealed class Float32Product
{
    private const int BlockOutputs = 32;
    private const int BlockRows = 8;

    private readonly KernelContext _context;
    private readonly KernelFunction _kernel;

    public Float32Product(KernelContext context)
    {
        _context = context;
        _kernel = context.Library["ProductF32.cu"].Function("product_f32", 256);
    }

    public void Run(TensorView x, CudaWeightMatrix weight, TensorView y)
    {
        RowCount rows = _context.Step.RowsOf(x.Rows);
        _context.Queue.Launch(
            _kernel,
            new Grid(Grid.Cover(weight.Rows, BlockOutputs), Grid.Cover(rows.Rows, BlockRows)),
            weight.Address,
            weight.Layout.Stride,
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.AddressOf(y),
            y.RowStride,
            weight.Rows,
            weight.Columns,
            rows.Pointer,
            rows.Rows);
    }
}
