using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Sampling;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches SampleDraw.cu.</summary>
internal sealed class SampleDraw
{
    private const int Threads = 512;

    private readonly KernelQueue _queue;
    private readonly KernelFunction _sums;
    private readonly KernelFunction _draw;

    public SampleDraw(KernelContext context)
    {
        _queue = context.Queue;
        KernelModule module = context.Library["SampleDraw.cu"];
        _sums = module.Function("sample_sums", Threads);
        _draw = module.Function("sample_draw", Threads);
    }

    /// <summary>Sums the weights that stay; comes before <see cref="Run"/> where a row draws.</summary>
    public void Sum(int vocabularySize, in SamplingMemory memory, RowCount rows) => _queue.Launch(
        _sums,
        new Grid(memory.SliceCount, rows.Rows),
        vocabularySize,
        memory.Table,
        memory.Scaled,
        memory.ScaledStride,
        memory.Slices,
        rows.Pointer,
        rows.Rows);

    public void Run(TensorView logits, in SamplingMemory memory, RowCount rows) => _queue.Launch(
        _draw,
        new Grid(1, rows.Rows),
        CudaBuffer.AddressOf(logits),
        logits.RowStride,
        logits.Columns,
        memory.Table,
        memory.Scaled,
        memory.ScaledStride,
        memory.Slices,
        memory.SliceCount,
        memory.Drawn,
        rows.Pointer,
        rows.Rows);
}
