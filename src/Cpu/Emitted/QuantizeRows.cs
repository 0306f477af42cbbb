using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Cpu.Weights;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Turns rows of x into 16-bit integers with one scale for each 32 of a row: <c>x = integer * scale</c>, to 2^-16 of the largest of the 32.
/// With so many bits the error beside that of quantised weights is nothing, and sums with them stay in 32 bits.
/// </summary>
internal sealed unsafe class QuantizeRows : ParallelJob, IDisposable
{
    /// <summary>Elements that share a scale.</summary>
    public const int GroupSize = PanelLayout.DepthBlock;

    // 127 * 256 + 127: both bytes of it fit a signed byte, which is what tiles multiply.
    private const float Largest = 32639;

    /// <summary>A group whose largest is below this is zero: its integers' factor would overflow.</summary>
    private const float Smallest = 1e-33f;

    private const int GroupsPerItem = 128;
    private const long SerialLimit = 1 << 14;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _integers = new(1);
    private readonly WorkerScratch _scales = new(1);
    private Rows _x;
    private int _columns;
    private int _groups;
    private int _pieces;
    private float _unit;
    private Vector512<short> _order;

    public QuantizeRows(WorkerPool pool) => _pool = pool;

    /// <summary>The integers, until the next call.</summary>
    public short* Integers { get; private set; }

    /// <summary>Integers from one row to the next.</summary>
    public nint Stride { get; private set; }

    /// <summary>The scales, until the next call.</summary>
    public float* Scales { get; private set; }

    /// <summary>Scales from one row to the next.</summary>
    public nint ScaleStride => _groups;

    /// <summary>Quantises.</summary>
    /// <param name="x">Rows.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="blockDepth">Elements to a whole number of which rows are padded with zeros; a multiple of 32.</param>
    /// <param name="unit">What every scale is multiplied by.</param>
    /// <param name="order">Where each place of a group of 32 takes its element from.</param>
    public void Run(Rows x, int rows, int columns, int blockDepth, float unit, Vector512<short> order)
    {
        _x = x;
        _columns = columns;
        _unit = unit;
        _order = order;
        _groups = (columns + blockDepth - 1) / blockDepth * (blockDepth / GroupSize);
        Stride = NarrowRows.PaddedStride(columns, blockDepth);
        Integers = (short*)_integers.Get(0, ((rows * Stride) + 1) / 2);
        Scales = _scales.Get(0, (long)rows * _groups);
        _pieces = (_groups + GroupsPerItem - 1) / GroupsPerItem;
        _pool.Run(this, rows * _pieces, (long)rows * columns >= SerialLimit);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Execute(int item, int worker)
    {
        int row = item / _pieces;
        int first = item % _pieces * GroupsPerItem;
        int end = Math.Min(first + GroupsPerItem, _groups);
        float* x = _x.At(row);
        short* target = Integers + (row * Stride);
        float* scales = Scales + ((nint)row * _groups);
        float* last = stackalloc float[GroupSize];
        for (int group = first; group < end; group++)
        {
            float* source = x + (group * GroupSize);
            int count = _columns - (group * GroupSize);
            if (count < GroupSize)
            {
                new Span<float>(last, GroupSize).Clear();
                new ReadOnlySpan<float>(source, Math.Max(count, 0)).CopyTo(new Span<float>(last, GroupSize));
                source = last;
            }

            scales[group] = Quantize(source, target + (group * GroupSize)) * _unit;
        }
    }

    public void Dispose()
    {
        _integers.Dispose();
        _scales.Dispose();
    }

    /// <summary>Quantises 32 elements and returns their scale, which is not finite if one of them is not.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private float Quantize(float* source, short* target)
    {
        Vector512<float> low = Vector512.Load(source);
        Vector512<float> high = Vector512.Load(source + Vector512<float>.Count);

        // vmaxps drops a NaN; the sum of products with zero does not.
        Vector512<float> most = Avx512F.Max(Vector512.Abs(low), Vector512.Abs(high));
        Vector256<float> half = Avx.Max(most.GetLower(), most.GetUpper());
        Vector128<float> quarter = Sse.Max(half.GetLower(), half.GetUpper());
        quarter = Sse.Max(quarter, Sse.MoveHighToLow(quarter, quarter));
        float largest = Sse.MaxScalar(quarter, Sse.Shuffle(quarter, quarter, 1)).ToScalar();
        float finite = Vector512.Sum((low * 0f) + (high * 0f));
        if (!(largest >= Smallest) || finite != 0)
        {
            Vector512<short>.Zero.Store(target);
            return finite;
        }

        Vector512<float> factor = Vector512.Create(Largest / largest);
        Vector256<short> first = Avx512F.ConvertToVector256Int16(Avx512F.ConvertToVector512Int32(low * factor));
        Vector256<short> second = Avx512F.ConvertToVector256Int16(Avx512F.ConvertToVector512Int32(high * factor));
        Avx512BW.PermuteVar32x16(Vector512.Create(first, second), _order).Store(target);
        return largest / Largest;
    }
}
