using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Sampling;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches SampleRules.cu.</summary>
internal sealed class SampleRules
{
    private readonly KernelQueue _queue;
    private readonly KernelFunction _rules;

    public SampleRules(KernelContext context)
    {
        _queue = context.Queue;
        _rules = context.Library["SampleRules.cu"].Function("sample_rules", 512);
    }

    public void Run(TensorView logits, in SamplingMemory memory, RowCount rows) => _queue.Launch(
        _rules,
        new Grid(memory.SliceCount, rows.Rows),
        CudaBuffer.AddressOf(logits),
        logits.RowStride,
        logits.Columns,
        memory.Table,
        memory.Scaled,
        memory.ScaledStride,
        memory.Slices,
        memory.BinSums,
        memory.BinCounts,
        rows.Pointer,
        rows.Rows);
}
