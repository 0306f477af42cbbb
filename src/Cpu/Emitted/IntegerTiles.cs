using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>
/// Products of many rows with a piece of a quantised panel by tiles. The groups' sums are the exact integers of <see cref="IntegerDotKernels"/>,
/// and are scaled and added in the same order with the same roundings: the result has the same bits.
/// </summary>
internal static unsafe class IntegerTiles
{
    private const int Tile = PanelLayout.TileWidth;

    /// <summary>Bytes of the unpacked weights of a panel over so many inputs.</summary>
    public static int UnpackedBytes(int depth) => depth * PanelLayout.Width;

    /// <summary>Floats of scratch memory: the unpacked weights, then sums.</summary>
    public static int ScratchFloats(int depth) => (UnpackedBytes(depth) + IntegerTileCode.SumBytes) / sizeof(float);

    /// <summary>
    /// Turns codes into bytes by quads of inputs: int8 <c>[groups][2 tiles][8][16][4]</c>, NF4, whose groups are twice as long,
    /// <c>[groups][2 halves][2 tiles][8][16][4]</c>.
    /// </summary>
    public static void Unpack(WeightFormat format, byte* codes, int groups, byte* target)
    {
        if (format == WeightFormat.Int8)
        {
            UnpackInt8(codes, groups, target);
        }
        else
        {
            UnpackNF4(codes, groups, target);
        }
    }

    /// <summary>Up to 16 rows times the 32 columns of a piece of a panel.</summary>
    /// <param name="kernels">The tiles.</param>
    /// <param name="format">Format of the weights.</param>
    /// <param name="x">Quantised x; its first row and group are given by the next two.</param>
    /// <param name="firstRow">First row.</param>
    /// <param name="firstGroup">First group of inputs.</param>
    /// <param name="split">The same in two bytes; of int8 only.</param>
    /// <param name="weights">Unpacked weights of the piece.</param>
    /// <param name="sums">Scratch memory of the sums.</param>
    /// <param name="weightScales">Scales of the piece's first block; the others lie behind the codes of theirs.</param>
    /// <param name="groups">Groups of the piece.</param>
    /// <param name="c">Result of the first row.</param>
    /// <param name="rows">Rows wanted of the 16.</param>
    /// <param name="resume">Whether to go on from the result.</param>
    public static void Multiply(
        ITileKernels kernels,
        WeightFormat format,
        QuantizeRows x,
        int firstRow,
        int firstGroup,
        SplitRows split,
        byte* weights,
        int* sums,
        byte* weightScales,
        int groups,
        float* c,
        int rows,
        bool resume)
    {
        for (int row = 0; !resume && row < rows; row++)
        {
            new Span<float>(c + (row * IntegerDotKernels.ResultStride), PanelLayout.Width).Clear();
        }

        bool isInt8 = format == WeightFormat.Int8;
        int size = QuantizeRows.GroupSize(format);
        DotArguments arguments = new() { XStride = isInt8 ? split.Stride : x.Stride, C = (float*)sums, Blocks = 1 };
        nint start = (firstRow * arguments.XStride) + ((nint)firstGroup * size);
        for (int group = 0; group < groups; group++)
        {
            arguments.B0 = weights + UnpackedBytes(group * size);
            GroupFactor* factors = x.Factors + ((nint)firstRow * x.Groups) + firstGroup + group;
            if (isInt8)
            {
                arguments.X = (byte*)split.High + start + (group * size);
                arguments.B1 = (byte*)split.Low + start + (group * size);
                kernels.Int8(&arguments);
                AddInt8(sums, (ushort*)(weightScales + (group * Int8Panels.Stride)), factors, x.Groups, c, rows);
            }
            else
            {
                arguments.X = x.Integers + start + (group * size);
                kernels.NF4(&arguments);
                AddNF4(sums, (float*)(weightScales + (group * NF4Panels.Stride)), factors, x.Groups, c, rows);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddInt8(int* sums, ushort* weightScales, GroupFactor* factors, int factorStride, float* c, int rows)
    {
        Vector512<float> first = Widen(weightScales);
        Vector512<float> second = Widen(weightScales + Tile);
        for (int row = 0; row < rows; row++)
        {
            int* sum = sums + (row * Tile);
            Vector512<float> exponent = Vector512.Create(factors[(nint)row * factorStride].Exponent);
            float* target = c + (row * IntegerDotKernels.ResultStride);
            Vector512<int> left = (Vector512.Load(sum) << 8) + Vector512.Load(sum + (2 * Tile * Tile));
            Vector512<int> right = (Vector512.Load(sum + (Tile * Tile)) << 8) + Vector512.Load(sum + (3 * Tile * Tile));
            Add(left, Avx512F.Scale(first, exponent), target);
            Add(right, Avx512F.Scale(second, exponent), target + Tile);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddNF4(int* sums, float* weightScales, GroupFactor* factors, int factorStride, float* c, int rows)
    {
        Vector512<float> first = Vector512.Load(weightScales);
        Vector512<float> second = Vector512.Load(weightScales + Tile);
        for (int row = 0; row < rows; row++)
        {
            int* sum = sums + (row * Tile);
            GroupFactor* own = factors + ((nint)row * factorStride);
            Vector512<float> exponent = Vector512.Create(own->Exponent);
            Vector512<int> start = Vector512.Create(own->Start);
            float* target = c + (row * IntegerDotKernels.ResultStride);
            Add(Vector512.Load(sum) + start, Avx512F.Scale(first * own->Mantissa, exponent), target);
            Add(Vector512.Load(sum + (Tile * Tile)) + start, Avx512F.Scale(second * own->Mantissa, exponent), target + Tile);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(Vector512<int> sum, Vector512<float> scale, float* target) =>
        Avx512F.FusedMultiplyAdd(Avx512F.ConvertToVector512Single(sum), scale, Vector512.Load(target)).Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Widen(ushort* scales) =>
        (Avx512F.ConvertToVector512UInt32(Vector256.Load(scales)) << 16).AsSingle();

    /// <summary>Two pairs of a column are a quad.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackInt8(byte* codes, int groups, byte* target)
    {
        const int PairBytes = 2 * PanelLayout.Width;
        for (int group = 0; group < groups; group++)
        {
            for (int quad = 0; quad < IntegerTileCode.Quads; quad++)
            {
                for (int tile = 0; tile < 2; tile++)
                {
                    Vector512<uint> low = Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)(codes + (tile * PairBytes / 2))));
                    Vector512<uint> high = Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)(codes + PairBytes + (tile * PairBytes / 2))));
                    (low | (high << 16)).AsByte().Store(target + (tile * IntegerTileCode.WeightTileBytes) + (quad * KernelParts.VectorBytes));
                }

                codes += 2 * PairBytes;
            }

            codes += Int8Codes.GapBytes;
            target += 2 * IntegerTileCode.WeightTileBytes;
        }
    }

    /// <summary>Eight inputs of a column are two quads: those in the low halves of four bytes, and those in the high ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackNF4(byte* codes, int groups, byte* target)
    {
        Vector512<byte> values = Vector512.Load(IntegerWeights.Values);
        const int WordsPerHalf = IntegerTileCode.Quads / 2;
        for (int half = 0; half < 2 * groups; half++)
        {
            for (int word = 0; word < WordsPerHalf; word++)
            {
                for (int tile = 0; tile < 2; tile++)
                {
                    Vector512<byte> indices = Vector512.Load(codes + (tile * KernelParts.VectorBytes));
                    byte* to = target + (tile * IntegerTileCode.WeightTileBytes) + (word * 2 * KernelParts.VectorBytes);
                    Avx512Vbmi.PermuteVar64x8(values, indices).Store(to);
                    Avx512Vbmi.PermuteVar64x8(values, (indices.AsUInt16() >> 4).AsByte()).Store(to + KernelParts.VectorBytes);
                }

                codes += NF4Panels.WordBytes;
            }

            codes += half % 2 * NF4Codes.GapBytes;
            target += 2 * IntegerTileCode.WeightTileBytes;
        }
    }
}
