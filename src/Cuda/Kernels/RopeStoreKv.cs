using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.KeyValues;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>Launches RopeStoreKv.cu.</summary>
internal sealed class RopeStoreKv
{
    private const int Threads = 256;

    private readonly KernelContext _context;
    private readonly KernelFunction _bf16;
    private readonly KernelFunction _f32;

    public RopeStoreKv(KernelContext context)
    {
        _context = context;
        KernelModule module = context.Library["RopeStoreKv.cu"];
        _bf16 = module.Function("rope_store_kv_bf16", Threads);
        _f32 = module.Function("rope_store_kv_f32", Threads);
    }

    /// <param name="rope">The rotation; its last columns are the keys.</param>
    /// <param name="v">Values.</param>
    /// <param name="cache">Where keys and values go.</param>
    /// <param name="layer">Layer of it.</param>
    public void Run(Rope rope, TensorView v, CudaKvCache cache, int layer)
    {
        StepTables step = _context.Step;
        RowCount rows = step.RowsOf(v.Rows);
        int kvHeads = cache.Shape.KvHeads;
        int headSize = cache.Shape.HeadSize;
        long items = ((long)rope.Heads * rope.Half) + (kvHeads * (headSize - (2L * rope.Half))) + ((long)kvHeads * headSize);
        _context.Queue.Launch(
            cache.IsBFloat16 ? _bf16 : _f32,
            new Grid(Grid.Cover(items, Threads), rows.Rows),
            rope.X,
            rope.XStride,
            CudaBuffer.AddressOf(v),
            v.RowStride,
            rope.Cosines,
            rope.Sines,
            cache.Layer(layer),
            step.Address(StepTable.Positions),
            step.Address(StepTable.RowSequences),
            step.Address(StepTable.Sequences),
            step.Address(StepTable.Blocks),
            rope.Heads - kvHeads,
            kvHeads,
            headSize,
            rope.Half,
            cache.HeadStride,
            cache.Shape.BlockSize,
            cache.PageStride,
            rows.Pointer,
            rows.Rows);
    }
}
