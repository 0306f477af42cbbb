using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Threading;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Turns rows of x into integers with one scale for each group of a row, see <see cref="GroupFactor"/>. Beside int8 weights they have 16 bits and groups
/// are 32 inputs; beside NF4, whose own error is twenty times as large, they have 8 bits and groups are the 64 inputs of a block. A group is 64 bytes
/// either way.
/// </summary>
internal sealed unsafe class QuantizeRows : ParallelJob, IDisposable
{
    /// <summary>Bytes of a group.</summary>
    public const int GroupBytes = 64;

    // 127 * 256 + 127: both bytes of it fit a signed byte, which is what tiles multiply.
    private const float LargestWord = 32639;
    private const float LargestByte = 127;

    /// <summary>A group whose largest is below this is zero: its integers' factor would overflow.</summary>
    private const float Smallest = 1e-33f;

    private const int MantissaWidth = 23;
    private const uint MantissaBits = (1u << MantissaWidth) - 1;
    private const int ExponentBias = 127;

    private const int GroupsPerItem = 128;
    private const long SerialLimit = 1 << 14;
    private const int Lanes = 16;
    private const int MostVectors = GroupBytes / Lanes;

    private readonly WorkerPool _pool;
    private readonly WorkerScratch _integers = new(1);
    private readonly WorkerScratch _factors = new(1);
    private Rows _x;
    private int _rows;
    private int _columns;
    private int _rowsPerItem;
    private int _pieces;
    private WeightFormat _format;

    public QuantizeRows(WorkerPool pool) => _pool = pool;

    /// <summary>The integers, until the next call.</summary>
    public byte* Integers { get; private set; }

    /// <summary>Bytes from one row of integers to the next.</summary>
    public nint Stride { get; private set; }

    /// <summary>What belongs to each group, until the next call.</summary>
    public GroupFactor* Factors { get; private set; }

    /// <summary>Groups of a row.</summary>
    public int Groups { get; private set; }

    /// <summary>Inputs that share a scale.</summary>
    public static int GroupSize(WeightFormat format) => format == WeightFormat.Int8 ? GroupBytes / sizeof(short) : GroupBytes;

    /// <summary>Quantises.</summary>
    /// <param name="x">Rows.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="format">The weights that they are to meet.</param>
    /// <param name="roomForRows">Rows that may be read; what those beyond <paramref name="rows"/> hold is anything.</param>
    public void Run(Rows x, int rows, int columns, WeightFormat format, int roomForRows)
    {
        _x = x;
        _rows = rows;
        _columns = columns;
        _format = format;
        Groups = (columns + GroupSize(format) - 1) / GroupSize(format);

        // One group more than there are: rows a power of two apart would share a few places of the cache.
        Stride = (Groups + 1) * GroupBytes;
        Integers = (byte*)_integers.Get(0, roomForRows * Stride / sizeof(float));
        Factors = (GroupFactor*)_factors.Get(0, (long)rows * Groups * sizeof(GroupFactor) / sizeof(float));
        _rowsPerItem = _pool.RowsPerItem(rows, columns);
        _pieces = _rowsPerItem > 1 ? 1 : (Groups + GroupsPerItem - 1) / GroupsPerItem;
        _pool.Run(this, (rows + _rowsPerItem - 1) / _rowsPerItem * _pieces, (long)rows * columns >= SerialLimit);
    }

    public override void Execute(int item, int worker)
    {
        int first = item % _pieces * GroupsPerItem;
        int end = _pieces == 1 ? Groups : Math.Min(first + GroupsPerItem, Groups);
        int firstRow = item / _pieces * _rowsPerItem;
        int endRow = Math.Min(firstRow + _rowsPerItem, _rows);
        for (int row = firstRow; row < endRow; row++)
        {
            Quantize(row, first, end);
        }
    }

    public void Dispose()
    {
        _integers.Dispose();
        _factors.Dispose();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Quantize(int row, int first, int end)
    {
        int size = GroupSize(_format);
        float* x = _x.At(row);
        byte* target = Integers + (row * Stride);
        GroupFactor* factors = Factors + ((nint)row * Groups);
        float* last = stackalloc float[MostVectors * Lanes];
        for (int group = first; group < end; group++)
        {
            float* source = x + (group * size);
            int count = _columns - (group * size);
            if (count < size)
            {
                new Span<float>(last, size).Clear();
                new ReadOnlySpan<float>(source, count).CopyTo(new Span<float>(last, size));
                source = last;
            }

            factors[group] = _format == WeightFormat.Int8
                ? ToWords(source, (short*)(target + (group * GroupBytes)))
                : ToBytes(source, (sbyte*)target + (group * GroupBytes));
        }
    }

    /// <summary>Quantises 32 elements, in their order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static GroupFactor ToWords(float* source, short* target)
    {
        Vector512<float> low = Vector512.Load(source);
        Vector512<float> high = Vector512.Load(source + Lanes);
        float largest = Largest(Vector512.Max(Size(low), Size(high)));
        if (!IsNormal(largest))
        {
            Vector512<short>.Zero.Store(target);
            return new GroupFactor { Exponent = largest - largest, Mantissa = 1 };
        }

        // The power of two that is not below the quotient.
        uint bits = BitConverter.SingleToUInt32Bits(largest / LargestWord);
        int exponent = (int)((bits + MantissaBits) >> MantissaWidth) - ExponentBias;
        Vector512<float> factor = Vector512.Create(PowerOfTwo(-exponent));
        Vector256<short> first = Avx512F.ConvertToVector256Int16(Avx512F.ConvertToVector512Int32(low * factor));
        Vector256<short> second = Avx512F.ConvertToVector256Int16(Avx512F.ConvertToVector512Int32(high * factor));
        Vector512.Create(first, second).Store(target);
        return new GroupFactor { Exponent = exponent, Mantissa = 1 };
    }

    /// <summary>Quantises 64 elements, in the order of <see cref="IntegerWeights.NF4Order"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static GroupFactor ToBytes(float* source, sbyte* target)
    {
        Vector512<float> a = Vector512.Load(source);
        Vector512<float> b = Vector512.Load(source + Lanes);
        Vector512<float> c = Vector512.Load(source + (2 * Lanes));
        Vector512<float> d = Vector512.Load(source + (3 * Lanes));
        float largest = Largest(Vector512.Max(Vector512.Max(Size(a), Size(b)), Vector512.Max(Size(c), Size(d))));
        if (!IsNormal(largest))
        {
            Vector512<sbyte>.Zero.Store(target);
            return new GroupFactor { Exponent = largest - largest, Mantissa = 1 };
        }

        uint bits = BitConverter.SingleToUInt32Bits(largest / LargestByte);
        int exponent = (int)(bits >> MantissaWidth) - ExponentBias;
        int mantissa = ScaleMantissas.IndexFor(BitConverter.UInt32BitsToSingle((bits & MantissaBits) | ((uint)ExponentBias << MantissaWidth)));
        Vector512<float> factor = Vector512.Create(PowerOfTwo(-exponent) / ScaleMantissas.Value(mantissa));
        Vector512<int> first = Avx512F.ConvertToVector512Int32(a * factor);
        Vector512<int> second = Avx512F.ConvertToVector512Int32(b * factor);
        Vector512<int> third = Avx512F.ConvertToVector512Int32(c * factor);
        Vector512<int> fourth = Avx512F.ConvertToVector512Int32(d * factor);
        Vector512<sbyte> integers = Vector512.Create(
            Vector256.Create(Avx512F.ConvertToVector128SByte(first), Avx512F.ConvertToVector128SByte(second)),
            Vector256.Create(Avx512F.ConvertToVector128SByte(third), Avx512F.ConvertToVector128SByte(fourth)));
        Avx512BW.Shuffle(integers, IntegerWeights.NF4Order).Store(target);
        int sum = Vector512.Sum(first + second + third + fourth);
        return new GroupFactor
        {
            Exponent = exponent,
            Start = -IntegerWeights.NF4Zero * sum,
            Mantissa = ScaleMantissas.ForWeights(mantissa),
            ScaleOffset = ScaleMantissas.Offset(mantissa),
        };
    }

    /// <summary>The bits without the sign: as integers they have the order of the sizes, infinity above all numbers and NaN above it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Size(Vector512<float> x) => Vector512.Abs(x).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Largest(Vector512<int> sizes)
    {
        Vector256<int> half = Vector256.Max(sizes.GetLower(), sizes.GetUpper());
        Vector128<int> quarter = Vector128.Max(half.GetLower(), half.GetUpper());
        quarter = Vector128.Max(quarter, Vector128.Shuffle(quarter, Vector128.Create(2, 3, 0, 1)));
        quarter = Vector128.Max(quarter, Vector128.Shuffle(quarter, Vector128.Create(1, 0, 3, 2)));
        return BitConverter.Int32BitsToSingle(quarter.ToScalar());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float PowerOfTwo(int exponent) => BitConverter.UInt32BitsToSingle((uint)(exponent + ExponentBias) << MantissaWidth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsNormal(float largest) => largest >= Smallest && largest <= float.MaxValue;
}
