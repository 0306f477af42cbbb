using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches AttentionBackward.cu, or AttentionBackwardBF16.cu where products need not be exact and it knows the head size.</summary>
internal sealed class AttentionBackward
{
    private const int Threads = 256;
    private const int IntegersPerTile = 3;
    private const int ExactTile = 32;
    private const int TensorCoreTile = 64;

    private static readonly int[] s_exactSizes = [32, 64, 128, 256];
    private static readonly int[] s_tensorCoreSizes = [32, 64, 96, 128, 256];

    private readonly KernelContext _context;
    private readonly UploadRing _uploads;
    private readonly Dictionary<int, Pair> _kernels = [];
    private readonly bool _isExact;
    private int[] _tiles = [];

    public AttentionBackward(KernelContext context, UploadRing uploads)
    {
        _context = context;
        _uploads = uploads;
        _isExact = context.Machine.Options.Products == CudaProducts.Exact;
    }

    public void Run(
        TensorView q,
        TensorView k,
        TensorView v,
        ReadOnlySpan<StepSequence> sequences,
        AttentionParameters parameters,
        TensorView dy,
        TensorView dq,
        TensorView dk,
        TensorView dv)
    {
        Pair kernels = KernelsFor(parameters.HeadSize);
        int tiles = Cut(sequences, kernels.Tile);
        if (tiles == 0)
        {
            return;
        }

        ulong table = _uploads.Put(_tiles.AsSpan(0, tiles * IntegersPerTile), _context.Queue.Stream());
        ulong statistics = _context.Scratch.Take("statistics of attention", 2L * parameters.Heads * q.Rows * sizeof(float));
        int group = parameters.Heads / parameters.KvHeads;
        _context.Queue.Launch(
            kernels.Queries,
            new Grid(tiles, parameters.Heads),
            CudaBuffer.AddressOf(q),
            q.RowStride,
            CudaBuffer.AddressOf(k),
            k.RowStride,
            CudaBuffer.AddressOf(v),
            v.RowStride,
            CudaBuffer.AddressOf(dy),
            dy.RowStride,
            CudaBuffer.AddressOf(dq),
            dq.RowStride,
            table,
            statistics,
            q.Rows,
            group,
            parameters.HeadSize,
            parameters.Window,
            parameters.Scale,
            parameters.SoftCap);
        _context.Queue.Launch(
            kernels.Keys,
            new Grid(tiles, parameters.KvHeads),
            CudaBuffer.AddressOf(q),
            q.RowStride,
            CudaBuffer.AddressOf(k),
            k.RowStride,
            CudaBuffer.AddressOf(v),
            v.RowStride,
            CudaBuffer.AddressOf(dy),
            dy.RowStride,
            CudaBuffer.AddressOf(dk),
            dk.RowStride,
            CudaBuffer.AddressOf(dv),
            dv.RowStride,
            table,
            statistics,
            q.Rows,
            group,
            parameters.HeadSize,
            parameters.Window,
            parameters.Scale,
            parameters.SoftCap);
    }

    // First row and length of the sequence, and the tile's first position in it. The longest work of the causal triangle is at its end, so the last
    // tiles of a sequence come first.
    private int Cut(ReadOnlySpan<StepSequence> sequences, int size)
    {
        int count = 0;
        foreach (StepSequence sequence in sequences)
        {
            int tiles = Grid.Cover(sequence.RowCount, size);
            if (_tiles.Length < (count + tiles) * IntegersPerTile)
            {
                Array.Resize(ref _tiles, 2 * (count + tiles) * IntegersPerTile);
            }

            for (int tile = tiles - 1; tile >= 0; tile--)
            {
                Span<int> entry = _tiles.AsSpan(count++ * IntegersPerTile, IntegersPerTile);
                entry[0] = sequence.FirstRow;
                entry[1] = sequence.RowCount;
                entry[2] = tile * size;
            }
        }

        return count;
    }

    private Pair KernelsFor(int headSize)
    {
        if (!_kernels.TryGetValue(headSize, out Pair? kernels))
        {
            kernels = !_isExact && s_tensorCoreSizes.Contains(headSize) ? TensorCore(headSize) : Exact(headSize);
            _kernels[headSize] = kernels;
        }

        return kernels;
    }

    private Pair Exact(int headSize)
    {
        int size = Array.Find(s_exactSizes, size => size >= headSize);
        if (size == 0)
        {
            throw new ArgumentException($"AttentionBackward: head size {headSize} is above {s_exactSizes[^1]}");
        }

        // Four tiles of rows, their stride odd, and two of scores, as AttentionBackward.cu lays them out.
        int bytes = ((4 * ExactTile * (headSize | 1)) + (2 * ExactTile * (ExactTile + 1))) * sizeof(float);
        KernelModule module = _context.Library["AttentionBackward.cu"];
        return new Pair(
            ExactTile,
            module.Function($"attention_backward_queries_{size}", Threads, bytes),
            module.Function($"attention_backward_keys_{size}", Threads, bytes));
    }

    private Pair TensorCore(int headSize)
    {
        // The same in bf16, rows 8 elements longer.
        int bytes = ((4 * TensorCoreTile * (headSize + 8)) + (2 * TensorCoreTile * (TensorCoreTile + 8))) * sizeof(ushort);
        KernelModule module = _context.Library["AttentionBackwardBF16.cu"];
        return new Pair(
            TensorCoreTile,
            module.Function($"attention_backward_queries_bf16_{headSize}", Threads, bytes),
            module.Function($"attention_backward_keys_bf16_{headSize}", Threads, bytes));
    }

    /// <param name="Tile">Queries and keys of a tile.</param>
    /// <param name="Queries">Makes dq and the statistics.</param>
    /// <param name="Keys">Makes dk and dv.</param>
    private sealed record Pair(int Tile, KernelFunction Queries, KernelFunction Keys);
}
