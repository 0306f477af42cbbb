using InferenceServer.Cuda.Compilation;
using InferenceServer.Cuda.Launching;
using InferenceServer.Cuda.Memory;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Steps;

namespace InferenceServer.Cuda.Kernels.Training;

/// <summary>Launches AttentionBackward.cu.</summary>
internal sealed class AttentionBackward
{
    private const int Threads = 256;
    private const int Tile = 32;
    private const int IntegersPerTile = 3;

    private static readonly int[] s_sizes = [32, 64, 128, 256];

    private readonly KernelContext _context;
    private readonly UploadRing _uploads;
    private readonly Dictionary<int, (KernelFunction Queries, KernelFunction Keys)> _kernels = [];
    private int[] _tiles = [];

    public AttentionBackward(KernelContext context, UploadRing uploads)
    {
        _context = context;
        _uploads = uploads;
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
        int tiles = Cut(sequences);
        if (tiles == 0)
        {
            return;
        }

        (KernelFunction queries, KernelFunction keys) = KernelsFor(parameters.HeadSize);
        ulong table = _uploads.Put(_tiles.AsSpan(0, tiles * IntegersPerTile), _context.Queue.Stream());
        ulong statistics = _context.Scratch.Take("statistics of attention", 2L * parameters.Heads * q.Rows * sizeof(float));
        int group = parameters.Heads / parameters.KvHeads;
        _context.Queue.Launch(
            queries,
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
            parameters.Heads,
            group,
            parameters.HeadSize,
            parameters.Window,
            parameters.Scale,
            parameters.SoftCap);
        _context.Queue.Launch(
            keys,
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
            parameters.Heads,
            group,
            parameters.HeadSize,
            parameters.Window,
            parameters.Scale,
            parameters.SoftCap);
    }

    // First row and length of the sequence, and the tile's first position in it. The longest work of the causal triangle is at its end, so the last
    // tiles of a sequence come first.
    private int Cut(ReadOnlySpan<StepSequence> sequences)
    {
        int count = 0;
        foreach (StepSequence sequence in sequences)
        {
            int tiles = Grid.Cover(sequence.RowCount, Tile);
            if (_tiles.Length < (count + tiles) * IntegersPerTile)
            {
                Array.Resize(ref _tiles, 2 * (count + tiles) * IntegersPerTile);
            }

            for (int tile = tiles - 1; tile >= 0; tile--)
            {
                Span<int> entry = _tiles.AsSpan(count++ * IntegersPerTile, IntegersPerTile);
                entry[0] = sequence.FirstRow;
                entry[1] = sequence.RowCount;
                entry[2] = tile * Tile;
            }
        }

        return count;
    }

    private (KernelFunction Queries, KernelFunction Keys) KernelsFor(int headSize)
    {
        if (_kernels.TryGetValue(headSize, out (KernelFunction Queries, KernelFunction Keys) kernels))
        {
            return kernels;
        }

        int size = Array.Find(s_sizes, size => size >= headSize);
        if (size == 0)
        {
            throw new ArgumentException($"AttentionBackward: head size {headSize} is above {s_sizes[^1]}");
        }

        // Four tiles of rows, their stride odd, and two of scores, as AttentionBackward.cu lays them out.
        int bytes = ((4 * Tile * (headSize | 1)) + (2 * Tile * (Tile + 1))) * sizeof(float);
        KernelModule module = _context.Library["AttentionBackward.cu"];
        kernels = (
            module.Function($"attention_backward_queries_{size}", Threads, bytes),
            module.Function($"attention_backward_keys_{size}", Threads, bytes));
        _kernels[headSize] = kernels;
        return kernels;
    }
}
