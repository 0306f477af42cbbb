using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>Rounds rows to bf16 (to nearest, ties to even), padded with zeros to whole depth blocks.</summary>
internal sealed unsafe class NarrowRows : ParallelJob, IDisposable
{
    private const int DepthPerItem = 4096;
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _memory = new(1);
    private Rows _x;
    private int _rows;
    private int _columns;
    private int _rowsPerItem;
    private int _pieces;

    public NarrowRows(WorkerPool pool) => _pool = pool;

    /// <summary>The rounded rows, until the next call.</summary>
    public ushort* Target { get; private set; }

    /// <summary>Elements from one of them to the next.</summary>
    public nint Stride { get; private set; }

    /// <summary>Rounds.</summary>
    /// <param name="x">Rows.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="roomForRows">Rows that may be read; what those beyond <paramref name="rows"/> hold is anything.</param>
    public void Run(Rows x, int rows, int columns, int roomForRows)
    {
        _x = x;
        _rows = rows;
        _columns = columns;
        Stride = PaddedStride(columns, PanelLayout.DepthBlock);
        Target = (ushort*)_memory.Get(0, ((roomForRows * Stride) + 1) / 2);
        _rowsPerItem = _pool.RowsPerItem(rows, columns);
        _pieces = _rowsPerItem > 1 ? 1 : (columns + DepthPerItem - 1) / DepthPerItem;
        _pool.Run(this, (rows + _rowsPerItem - 1) / _rowsPerItem * _pieces, (long)rows * columns >= SerialLimit);
    }

    /// <summary>Whole blocks and one cache line: rows a power of two apart would share a few places of the cache.</summary>
    public static nint PaddedStride(int columns, int block)
    {
        const int LineElements = 32;
        return ((nint)(columns + block - 1) / block * block) + LineElements;
    }

    public override void Execute(int item, int worker)
    {
        int first = item % _pieces * DepthPerItem;
        int count = _pieces == 1 ? _columns : Math.Min(DepthPerItem, _columns - first);
        int padded = (count + PanelLayout.DepthBlock - 1) / PanelLayout.DepthBlock * PanelLayout.DepthBlock;
        int firstRow = item / _pieces * _rowsPerItem;
        int end = Math.Min(firstRow + _rowsPerItem, _rows);
        for (int row = firstRow; row < end; row++)
        {
            ushort* target = Target + (row * Stride) + first;
            Narrow(_x.At(row) + first, target, count);
            new Span<ushort>(target + count, padded - count).Clear();
        }
    }

    public void Dispose() => _memory.Dispose();

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Narrow(float* source, ushort* target, int count)
    {
        int k = 0;
        for (; k <= count - (2 * Vector512<float>.Count); k += 2 * Vector512<float>.Count)
        {
            Vector512<uint> low = Round(Vector512.Load(source + k));
            Vector512<uint> high = Round(Vector512.Load(source + k + Vector512<float>.Count));
            Vector512.Narrow(low, high).Store(target + k);
        }

        for (; k < count; k++)
        {
            target[k] = BFloat16.FromSingle(source[k]);
        }
    }

    /// <summary>The upper half of each, rounded; what is not a number stays none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Round(Vector512<float> value)
    {
        Vector512<uint> bits = value.AsUInt32();
        Vector512<uint> rounded = (bits + Vector512.Create(0x7fffu) + ((bits >> 16) & Vector512<uint>.One)) >> 16;
        Vector512<uint> quiet = (bits >> 16) | Vector512.Create(0x40u);
        return Vector512.ConditionalSelect(Vector512.Equals(value, value).AsUInt32(), rounded, quiet);
    }
}
