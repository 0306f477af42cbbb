using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;

namespace InferenceServer.Cpu.Emitted;

/// <summary>Splits 16-bit integers into two signed bytes, <c>256 high + low</c>.</summary>
internal sealed unsafe class SplitRows : ParallelJob, IDisposable
{
    private const long SerialLimit = 1 << 15;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _memory = new(1);
    private QuantizeRows? _rows;

    public SplitRows(WorkerPool pool) => _pool = pool;

    /// <summary>The high bytes, until the next call.</summary>
    public sbyte* High { get; private set; }

    /// <summary>The low bytes.</summary>
    public sbyte* Low { get; private set; }

    /// <summary>Bytes from one row to the next.</summary>
    public nint Stride { get; private set; }

    /// <summary>Splits.</summary>
    /// <param name="rows">Quantised rows.</param>
    /// <param name="count">Number of them.</param>
    /// <param name="roomForRows">Rows that may be read; what those beyond hold is anything.</param>
    public void Run(QuantizeRows rows, int count, int roomForRows)
    {
        const int LineBytes = 64;
        _rows = rows;

        // A line more than the integers, so that rows do not share places of the cache.
        Stride = (rows.Groups * Vector512<short>.Count) + LineBytes;
        High = (sbyte*)_memory.Get(0, ((2 * roomForRows * Stride) + 3) / sizeof(float));
        Low = High + (roomForRows * Stride);
        _pool.Run(this, count, (long)count * Stride >= SerialLimit);
        _rows = null;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Execute(int item, int worker)
    {
        QuantizeRows rows = _rows!;
        short* source = (short*)(rows.Integers + (item * rows.Stride));
        sbyte* high = High + (item * Stride);
        sbyte* low = Low + (item * Stride);
        for (nint i = 0; i < rows.Groups * Vector512<short>.Count; i += Vector512<short>.Count)
        {
            Vector512<short> integers = Vector512.Load(source + i);
            Avx512BW.ConvertToVector256SByte(integers).Store(low + i);
            Avx512BW.ConvertToVector256SByte((integers + Vector512.Create((short)128)) >> 8).Store(high + i);
        }
    }

    public void Dispose() => _memory.Dispose();
}
