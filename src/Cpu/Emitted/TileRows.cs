using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Rounds rows to bf16 (to nearest, ties to even) and lays them as the tiles that <see cref="TileKernelCode"/> loads,
/// <c>[rows / 16][depth / 32][16][32]</c>: a tile is 1 KB in one piece, where rows of a matrix would be as many places of memory.
/// </summary>
internal sealed unsafe class TileRows : ParallelJob, IDisposable
{
    private const int BlocksPerItem = 128;
    private const int TileElements = PanelLayout.TileBytes / sizeof(ushort);
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _memory = new(1);
    private Rows _x;
    private int _rows;
    private int _columns;
    private int _blocks;
    private int _pieces;

    public TileRows(WorkerPool pool) => _pool = pool;

    /// <summary>The tiles, until the next call.</summary>
    public byte* Target { get; private set; }

    /// <summary>Bytes from 16 rows to the next 16.</summary>
    public nint Stride { get; private set; }

    /// <summary>Rounds.</summary>
    /// <param name="x">Rows.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Elements of a row, padded with zeros to whole blocks.</param>
    /// <param name="roomForRows">Rows that may be read, whole tiles; what those beyond <paramref name="rows"/> hold is anything.</param>
    public void Run(Rows x, int rows, int columns, int roomForRows)
    {
        _x = x;
        _rows = rows;
        _columns = columns;
        _blocks = (columns + PanelLayout.DepthBlock - 1) / PanelLayout.DepthBlock;
        Stride = (nint)_blocks * PanelLayout.TileBytes;
        Target = (byte*)_memory.Get(0, roomForRows / TileKernelCode.TileRows * Stride / sizeof(float));
        _pieces = (_blocks + BlocksPerItem - 1) / BlocksPerItem;
        int tiles = (rows + TileKernelCode.TileRows - 1) / TileKernelCode.TileRows;
        _pool.Run(this, tiles * _pieces, (long)rows * columns >= SerialLimit);
    }

    /// <summary>Rounds one row and keeps it in f32, padded with zeros to whole blocks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public float* RunSingle(float* x, int columns)
    {
        int padded = (columns + PanelLayout.DepthBlock - 1) / PanelLayout.DepthBlock * PanelLayout.DepthBlock;
        float* target = _memory.Get(0, padded);
        int k = 0;
        for (; k <= columns - Vector512<float>.Count; k += Vector512<float>.Count)
        {
            (NarrowRows.Round(Vector512.Load(x + k)) << 16).AsSingle().Store(target + k);
        }

        for (; k < columns; k++)
        {
            target[k] = BFloat16.ToSingle(BFloat16.FromSingle(x[k]));
        }

        new Span<float>(target + columns, padded - columns).Clear();
        return target;
    }

    public override void Execute(int item, int worker)
    {
        int firstRow = item / _pieces * TileKernelCode.TileRows;
        int firstBlock = item % _pieces * BlocksPerItem;
        int count = Math.Min(BlocksPerItem * PanelLayout.DepthBlock, _columns - (firstBlock * PanelLayout.DepthBlock));
        ushort* target = (ushort*)(Target + (item / _pieces * Stride) + ((nint)firstBlock * PanelLayout.TileBytes));
        for (int row = 0; row < Math.Min(TileKernelCode.TileRows, _rows - firstRow); row++)
        {
            Narrow(_x.At(firstRow + row) + (firstBlock * PanelLayout.DepthBlock), target + (row * PanelLayout.DepthBlock), count);
        }
    }

    public void Dispose() => _memory.Dispose();

    /// <summary>A row of as many tiles as it takes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Narrow(float* source, ushort* target, int count)
    {
        int k = 0;
        for (; k <= count - PanelLayout.DepthBlock; k += PanelLayout.DepthBlock)
        {
            Vector512<uint> low = NarrowRows.Round(Vector512.Load(source + k));
            Vector512<uint> high = NarrowRows.Round(Vector512.Load(source + k + Vector512<float>.Count));
            Vector512.Narrow(low, high).Store(target);
            target += TileElements;
        }

        for (int i = 0; k < count && i < PanelLayout.DepthBlock; i++)
        {
            target[i] = k + i < count ? BFloat16.FromSingle(source[k + i]) : (ushort)0;
        }
    }
}
