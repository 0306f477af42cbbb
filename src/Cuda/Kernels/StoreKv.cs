using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.KeyValues;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches StoreKv.cu, or a rotation of the keys that waits along with it.</summary>
internal sealed class StoreKv
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _bf16;
    private readonly KernelFunction _f32;
    private readonly Rope _rope;
    private readonly RopeStoreKv _both;

    public StoreKv(KernelContext context, Rope rope)
    {
        _context = context;
        _rope = rope;
        _both = new RopeStoreKv(context);
        KernelModule module = context.Library["StoreKv.cu"];
        _bf16 = module.Function("store_kv_bf16", Threads);
        _f32 = module.Function("store_kv_f32", Threads);
    }

    public void Run(TensorView k, TensorView v, CudaKvCache cache, int layer)
    {
        if (_rope.TryTake(k, cache.Shape.HeadSize))
        {
            _both.Run(_rope, v, cache, layer);
            return;
        }

        StepTables step = _context.Step;
        RowCount rows = step.RowsOf(k.Rows);
        _context.Queue.Launch(
            cache.IsBFloat16 ? _bf16 : _f32,
            new Grid(Grid.Cover(k.Columns / 2, Threads), rows.Rows),
            CudaBuffer.AddressOf(k),
            k.RowStride,
            CudaBuffer.AddressOf(v),
            v.RowStride,
            cache.Layer(layer),
            step.Address(StepTable.Positions),
            step.Address(StepTable.RowSequences),
            step.Address(StepTable.Sequences),
            step.Address(StepTable.Blocks),
            cache.Shape.KvHeads,
            cache.Shape.HeadSize,
            cache.HeadStride,
            cache.Shape.BlockSize,
            cache.PageStride,
            rows.Pointer,
            rows.Rows);
    }
}
