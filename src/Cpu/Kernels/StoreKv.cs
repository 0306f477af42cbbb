using InferenceServer.Cpu.KeyValues;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Kernels;

/// <summary>Copies the step's keys and values, <c>[T, K * D]</c> each, to the cache places of their positions.</summary>
internal sealed unsafe class StoreKv : ParallelJob
{
    private const long SerialLimit = 1 << 12;

    private readonly WorkerPool _pool;
    private readonly StepState _step;
    private CpuKvCache? _cache;
    private Rows _k;
    private Rows _v;
    private int _layer;

    public StoreKv(WorkerPool pool, StepState step)
    {
        _pool = pool;
        _step = step;
    }

    public void Run(Rows k, Rows v, CpuKvCache cache, int layer, int rows)
    {
        _k = k;
        _v = v;
        _cache = cache;
        _layer = layer;

        // An item is a row block: neighbouring positions share cache lines of the keys and should have one writer.
        long elements = (long)rows * cache.Shape.KvHeads * cache.Shape.HeadSize;
        _pool.Run(this, _step.RowBlocks.Length, elements >= SerialLimit);
        _cache = null;
    }

    public override void Execute(int item, int worker)
    {
        CpuKvCache cache = _cache!;
        RowBlock rows = _step.RowBlocks[item];
        ReadOnlySpan<int> table = _step.Inputs.BlockTable;
        int headSize = cache.Shape.HeadSize;
        for (int i = 0; i < rows.RowCount; i++)
        {
            // Block numbers were checked against the cache; the slot is below the block size.
            int position = rows.FirstPosition + i;
            int block = table[rows.FirstBlock + (position / cache.Shape.BlockSize)];
            int slot = position % cache.Shape.BlockSize;
            float* k = _k.At(rows.FirstRow + i);
            float* v = _v.At(rows.FirstRow + i);
            for (int head = 0; head < cache.Shape.KvHeads; head++)
            {
                float* keys = cache.Keys(_layer, block, head) + slot;
                for (int d = 0; d < headSize; d++)
                {
                    keys[d * cache.KeyStride] = k[(head * headSize) + d];
                }

                float* values = cache.Values(_layer, block, head) + (slot * cache.ValueStride);
                new ReadOnlySpan<float>(v + (head * headSize), headSize).CopyTo(new Span<float>(values, headSize));
            }
        }
    }
}
