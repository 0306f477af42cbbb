using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches Rope.cu.</summary>
internal sealed class Rope
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _kernel;

    public Rope(KernelContext context)
    {
        _context = context;
        _kernel = context.Library["Rope.cu"].Function("rope", Threads);
    }

    public void Run(RopeTable table, int headSize, TensorView x)
    {
        RowCount rows = _context.Step.RowsOf(x.Rows);
        int heads = x.Columns / headSize;
        int half = table.RotarySize / 2;
        _context.Queue.Launch(
            _kernel,
            new Grid(Grid.Cover((long)heads * half, Threads), rows.Rows),
            CudaBuffer.AddressOf(x),
            x.RowStride,
            CudaBuffer.Of(table.Cos).Address,
            CudaBuffer.Of(table.Sin).Address,
            _context.Step.Address(StepTable.Positions),
            heads,
            headSize,
            half,
            rows.Pointer,
            rows.Rows);
    }
}
