using InferenceServer.Cpu.KeyValues;
using InferenceServer.Cpu.Steps;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Training;

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
        int blockSize = cache.Shape.BlockSize;
        int done = 0;
        while (done < rows.RowCount)
        {
            // Rows that share a block. Block numbers were checked against the cache; the slot is below the block size.
            int position = rows.FirstPosition + done;
            int block = table[rows.FirstBlock + (position / blockSize)];
            int slot = position % blockSize;
            int count = Math.Min(rows.RowCount - done, blockSize - slot);
            float* k = _k.At(rows.FirstRow + done);
            float* v = _v.At(rows.FirstRow + done);
            for (int head = 0; head < cache.Shape.KvHeads; head++)
            {
                // Together: a line of keys has one element of each, and a line that memory must bring is best written once.
                TransposeBlock.Run(k + (head * headSize), _k.Stride, count, headSize, cache.Keys(_layer, block, head) + slot, cache.KeyStride);
                float* values = cache.Values(_layer, block, head) + (slot * cache.ValueStride);
                for (int i = 0; i < count; i++)
                {
                    new ReadOnlySpan<float>(v + (i * _v.Stride) + (head * headSize), headSize)
                        .CopyTo(new Span<float>(values + (i * cache.ValueStride), headSize));
                }
            }

            done += count;
        }
    }
}
