using InferenceServer.Cuda.KeyValues;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>
/// Causal attention over the paged cache: sequences with many rows by <see cref="PrefillAttention"/> where products need not be exact, all other
/// rows by <see cref="DecodeAttention"/>.
/// </summary>
internal sealed class PagedAttention
{
    private readonly StepTables _step;
    private readonly DecodeAttention _decode;
    private readonly PrefillAttention? _prefill;

    public PagedAttention(KernelContext context)
    {
        _step = context.Step;
        _decode = new DecodeAttention(context);
        _prefill = context.Machine.Options.Products == CudaProducts.Exact ? null : new PrefillAttention(context);
    }

    public void Run(TensorView q, CudaKvCache cache, int layer, AttentionParameters parameters, TensorView y)
    {
        AttentionCall call = new(q, cache, layer, parameters, y);
        if (_step.IsGraphStep || _step.PrefilledCount == 0 || _prefill is null || !_prefill.Serves(cache))
        {
            _decode.Run(call, 0, _step.RowsOf(q.Rows));
            return;
        }

        _prefill.Run(call);
        if (_step.DecodedRowCount > 0)
        {
            _decode.Run(call, _step.Address(StepTable.DecodedRows), new RowCount(0, _step.DecodedRowCount));
        }
    }
}
