using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches RopeBackward.cu.</summary>
internal sealed class RopeBackward
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly UploadRing _uploads;
    private readonly KernelFunction _kernel;

    public RopeBackward(KernelContext context, UploadRing uploads)
    {
        _context = context;
        _uploads = uploads;
        _kernel = context.Library["RopeBackward.cu"].Function("rope_backward", Threads);
    }

    public void Run(RopeTable table, int headSize, ReadOnlySpan<int> positions, TensorView dx)
    {
        int half = table.RotarySize / 2;
        int heads = dx.Columns / headSize;
        int pieces = Grid.Cover((long)heads * half, Threads);
        if (dx.Rows == 0 || pieces == 0)
        {
            return;
        }

        _context.Queue.Launch(
            _kernel,
            new Grid(dx.Rows * pieces),
            CudaBuffer.Of(table.Cos).Address,
            CudaBuffer.Of(table.Sin).Address,
            half,
            _uploads.Put(positions, _context.Queue.Stream()),
            CudaBuffer.AddressOf(dx),
            dx.RowStride,
            headSize,
            heads,
            pieces);
    }
}
