using InferenceServer.Cuda.KeyValues;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Causal attention over the paged cache, by the kernels that suit the step.</summary>
internal sealed class PagedAttention
{
    private readonly StepTables _step;
    private readonly DecodeAttention _decode;

    public PagedAttention(KernelContext context)
    {
        _step = context.Step;
        _decode = new DecodeAttention(context);
    }

    public void Run(TensorView q, CudaKvCache cache, int layer, AttentionParameters parameters, TensorView y)
    {
        AttentionCall call = new(q, cache, layer, parameters, y);
        _decode.Run(call, 0, _step.RowsOf(q.Rows));
    }
}
