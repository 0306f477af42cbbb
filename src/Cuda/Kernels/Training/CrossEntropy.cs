using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches CrossEntropy.cu.</summary>
internal sealed class CrossEntropy
{
    private readonly KernelContext _context;
    private readonly UploadRing _uploads;
    private readonly Totals _totals;
    private readonly KernelFunction _kernel;

    public CrossEntropy(KernelContext context, UploadRing uploads, Totals totals)
    {
        _context = context;
        _uploads = uploads;
        _totals = totals;
        _kernel = context.Library["CrossEntropy.cu"].Function("cross_entropy", 1024);
    }

    /// <summary>Waits for the device.</summary>
    public double Run(TensorView logits, ReadOnlySpan<int> labels, float factor, TensorView dlogits)
    {
        if (logits.Rows == 0)
        {
            return 0;
        }

        ulong losses = _context.Scratch.Take("losses", (long)logits.Rows * sizeof(double));
        _context.Queue.Launch(
            _kernel,
            new Grid(logits.Rows),
            CudaBuffer.AddressOf(logits),
            logits.RowStride,
            _uploads.Put(labels, _context.Queue.Stream()),
            factor,
            CudaBuffer.AddressOf(dlogits),
            dlogits.RowStride,
            losses,
            logits.Columns);
        return _totals.Read(losses, logits.Rows);
    }
}
