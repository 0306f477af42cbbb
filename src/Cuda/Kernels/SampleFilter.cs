using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Sampling;
using InferenceServer.Cuda.Steps;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches SampleFilter.cu.</summary>
internal sealed class SampleFilter
{
    private const int Threads = 512;

    private readonly KernelQueue _queue;
    private readonly KernelFunction _histogram;
    private readonly KernelFunction _gather;
    private readonly KernelFunction _cut;

    public SampleFilter(KernelContext context)
    {
        _queue = context.Queue;
        KernelModule module = context.Library["SampleFilter.cu"];
        _histogram = module.Function("sample_histogram", Threads);
        _gather = module.Function("sample_gather", Threads);
        _cut = module.Function("sample_cut", Threads);
    }

    public void Run(int vocabularySize, in SamplingMemory memory, RowCount rows)
    {
        _queue.Launch(
            _histogram,
            new Grid(memory.SliceCount, rows.Rows),
            vocabularySize,
            memory.Table,
            memory.Scaled,
            memory.ScaledStride,
            memory.BinSums,
            memory.BinCounts,
            rows.Pointer,
            rows.Rows);
        LaunchOverBins(_gather, memory.SliceCount, vocabularySize, memory, rows);
        LaunchOverBins(_cut, 1, vocabularySize, memory, rows);
    }

    private void LaunchOverBins(KernelFunction kernel, int blocks, int vocabularySize, in SamplingMemory memory, RowCount rows) => _queue.Launch(
        kernel,
        new Grid(blocks, rows.Rows),
        vocabularySize,
        memory.Table,
        memory.Scaled,
        memory.ScaledStride,
        memory.BinSums,
        memory.BinCounts,
        memory.Listed,
        rows.Pointer,
        rows.Rows);
}
