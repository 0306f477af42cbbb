using System.Numerics;
using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Cuda.Steps;
using InferenceServer.Tensors;

namespace InferenceServer.Cuda.Kernels;

/// <summary>
/// Launches DecodeAttention.cu, or PlainAttention.cu for keys and values in f32 and for heads above 256, and JoinChunks.cu behind them. Each
/// row by itself: its result has the same bits whatever else is in the step.
/// </summary>
internal sealed class DecodeAttention
{
    /// <summary>CHUNK of chunks.cuh.</summary>
    private const int ChunkKeys = 128;

    /// <summary>Query heads that a block takes: LINES of DecodeAttention.cu, HEADS of PlainAttention.cu.</summary>
    private const int HeadsPerBlock = 8;

    /// <summary>
    /// More blocks than this a multiprocessor, a few times what it holds at once, only repeat the way to the first key: blocks then take
    /// several chunks.
    /// </summary>
    private const int BlocksPerMultiprocessor = 24;

    /// <summary>But so many a row and kv head, where it has the chunks: one long sequence among short ones must not wait for a few blocks.</summary>
    private const int MinBlocksPerHead = 16;

    /// <summary>Rows go in as many launches as keep the chunks' results below this.</summary>
    private const long MaxPartialBytes = 64 << 20;

    private readonly KernelContext _context;
    private readonly KernelFunction[] _decode;
    private readonly KernelFunction _plainBf16;
    private readonly KernelFunction _plainF32;
    private readonly KernelFunction _join;

    public DecodeAttention(KernelContext context)
    {
        _context = context;
        KernelModule decode = context.Library["DecodeAttention.cu"];
        _decode = [decode.Function("decode_attention_64", 128), decode.Function("decode_attention_128", 128), decode.Function("decode_attention_256", 128)];
        KernelModule plain = context.Library["PlainAttention.cu"];
        _plainBf16 = plain.Function("plain_attention_bf16", ChunkKeys);
        _plainF32 = plain.Function("plain_attention_f32", ChunkKeys);
        _join = context.Library["JoinChunks.cu"].Function("join_chunks", 256);
    }

    /// <summary>Computes rows of the step.</summary>
    /// <param name="call">The operation.</param>
    /// <param name="picked">Address of the rows' numbers, or 0 for all rows in order.</param>
    /// <param name="rows">How many.</param>
    public void Run(AttentionCall call, ulong picked, RowCount rows)
    {
        AttentionParameters parameters = call.Parameters;

        // A power of two, so that steps of growing sequences stay equal; a window bounds it.
        int slots = (int)BitOperations.RoundUpToPowerOf2((uint)Grid.Cover(_context.Step.MaxContext, ChunkKeys));
        if (parameters.Window > 0)
        {
            slots = Math.Min(slots, Grid.Cover(parameters.Window - 1L, ChunkKeys) + 1);
        }

        long bytesPerRow = (long)parameters.Heads * slots * PartialStride(parameters.HeadSize) * sizeof(float);
        int rowsAtOnce = slots <= 1 ? rows.Rows : (int)Math.Clamp(MaxPartialBytes / bytesPerRow, 1, rows.Rows);
        ulong partials = slots <= 1 ? 0 : _context.Scratch.Take("attention chunks", bytesPerRow * rowsAtOnce);
        for (int first = 0; first < rows.Rows; first += rowsAtOnce)
        {
            int count = Math.Min(rowsAtOnce, rows.Rows - first);
            LaunchChunks(call, picked, rows, first, count, slots, partials);
            if (slots > 1)
            {
                LaunchJoin(call, picked, rows, first, count, slots, partials);
            }
        }
    }

    /// <summary>partial_stride of chunks.cuh.</summary>
    private static int PartialStride(int headSize) => ((headSize + 3) & ~3) + 4;

    private KernelFunction ChunkKernel(AttentionCall call)
    {
        if (!call.Cache.IsBFloat16)
        {
            return _plainF32;
        }

        return call.Cache.HeadStride switch
        {
            <= 64 => _decode[0],
            <= 128 => _decode[1],
            <= 256 => _decode[2],
            _ => _plainBf16,
        };
    }

    private void LaunchChunks(AttentionCall call, ulong picked, RowCount rows, int first, int count, int slots, ulong partials)
    {
        StepTables step = _context.Step;
        AttentionParameters parameters = call.Parameters;
        int heads = parameters.KvHeads * Grid.Cover(call.HeadsPerKv, HeadsPerBlock);
        int enough = Math.Max(MinBlocksPerHead, Grid.Cover((long)BlocksPerMultiprocessor * _context.Device.Multiprocessors, heads * count));
        _context.Queue.Launch(
            ChunkKernel(call),
            new Grid(Math.Min(slots, (int)BitOperations.RoundUpToPowerOf2((uint)enough)), heads, count),
            CudaBuffer.AddressOf(call.Q),
            call.Q.RowStride,
            call.Cache.Layer(call.Layer),
            picked,
            first,
            step.Address(StepTable.Positions),
            step.Address(StepTable.RowSequences),
            step.Address(StepTable.Sequences),
            step.Address(StepTable.Blocks),
            parameters.KvHeads,
            call.HeadsPerKv,
            parameters.HeadSize,
            call.Cache.HeadStride,
            call.Cache.Shape.BlockSize,
            call.Cache.PageStride,
            parameters.Scale,
            parameters.SoftCap,
            parameters.Window,
            slots,
            partials,
            CudaBuffer.AddressOf(call.Y),
            call.Y.RowStride,
            rows.Pointer,
            rows.Rows);
    }

    private void LaunchJoin(AttentionCall call, ulong picked, RowCount rows, int first, int count, int slots, ulong partials) =>
        _context.Queue.Launch(
            _join,
            new Grid(call.Parameters.Heads, count),
            partials,
            slots,
            picked,
            first,
            _context.Step.Address(StepTable.Positions),
            call.Parameters.Window,
            call.Parameters.HeadSize,
            CudaBuffer.AddressOf(call.Y),
            call.Y.RowStride,
            rows.Pointer,
            rows.Rows);
}
