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

    /// <summary>Groups whose sums lie in the first-level cache between the tiles and their scaling.</summary>
    private const int GroupsPerCall = 4;

    /// <summary>Rows whose results stay in registers over the groups of a call.</summary>
    private const int RowsPerPass = 4;

    private const int SumTile = Tile * Tile;
    private const int Int8Sums = 4 * SumTile;
    private const int NF4Sums = 2 * SumTile;

    /// <summary>Bytes of the unpacked weights of a panel over so many inputs.</summary>
    public static int UnpackedBytes(int depth) => depth * PanelLayout.Width;

    /// <summary>Floats of scratch memory: the unpacked weights, then sums.</summary>
    public static int ScratchFloats(int depth) => (UnpackedBytes(depth) + (GroupsPerCall * IntegerTileCode.SumBytes)) / sizeof(float);

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
        bool isInt8 = format == WeightFormat.Int8;
        int size = QuantizeRows.GroupSize(format);
        DotArguments arguments = new() { XStride = isInt8 ? split.Stride : x.Stride, C = (float*)sums };
        nint start = (firstRow * arguments.XStride) + ((nint)firstGroup * size);
        for (int group = 0; group < groups; group += GroupsPerCall)
        {
            int count = Math.Min(GroupsPerCall, groups - group);
            bool goesOn = resume || group > 0;
            arguments.Blocks = count;
            arguments.B0 = weights + UnpackedBytes(group * size);
            GroupFactor* factors = x.Factors + ((nint)firstRow * x.Groups) + firstGroup + group;
            if (isInt8)
            {
                arguments.X = (byte*)split.High + start + (group * size);
                arguments.B1 = (byte*)split.Low + start + (group * size);
                kernels.Int8(&arguments);
                AddInt8(sums, weightScales + (group * Int8Panels.Stride), count, factors, x.Groups, c, rows, goesOn);
            }
            else
            {
                arguments.X = x.Integers + start + (group * size);
                kernels.NF4(&arguments);
                AddNF4(sums, weightScales + (group * NF4Panels.Stride), count, factors, x.Groups, c, rows, goesOn);
            }
        }
    }

    /// <summary>Scales the sums of groups and adds them to the results, four rows at a time, then row after row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddInt8(int* sums, byte* weightScales, int groups, GroupFactor* factors, nint factorStride, float* c, int rows, bool goesOn)
    {
        const int Stride = IntegerDotKernels.ResultStride;
        int row = 0;
        for (; row <= rows - RowsPerPass; row += RowsPerPass)
        {
            float* target = c + (row * Stride);
            Vector512<float> left0 = Begin(target, goesOn);
            Vector512<float> right0 = Begin(target + Tile, goesOn);
            Vector512<float> left1 = Begin(target + Stride, goesOn);
            Vector512<float> right1 = Begin(target + Stride + Tile, goesOn);
            Vector512<float> left2 = Begin(target + (2 * Stride), goesOn);
            Vector512<float> right2 = Begin(target + (2 * Stride) + Tile, goesOn);
            Vector512<float> left3 = Begin(target + (3 * Stride), goesOn);
            Vector512<float> right3 = Begin(target + (3 * Stride) + Tile, goesOn);
            for (int group = 0; group < groups; group++)
            {
                ushort* scales = (ushort*)(weightScales + (group * Int8Panels.Stride));
                Vector512<float> first = Widen(scales);
                Vector512<float> second = Widen(scales + Tile);
                int* sum = sums + (group * Int8Sums) + (row * Tile);
                GroupFactor* factor = factors + (row * factorStride) + group;
                Vector512<float> exponent = Vector512.Create(factor->Exponent);
                left0 = AddInt8(left0, sum, first, exponent);
                right0 = AddInt8(right0, sum + SumTile, second, exponent);
                exponent = Vector512.Create(factor[factorStride].Exponent);
                left1 = AddInt8(left1, sum + Tile, first, exponent);
                right1 = AddInt8(right1, sum + SumTile + Tile, second, exponent);
                exponent = Vector512.Create(factor[2 * factorStride].Exponent);
                left2 = AddInt8(left2, sum + (2 * Tile), first, exponent);
                right2 = AddInt8(right2, sum + SumTile + (2 * Tile), second, exponent);
                exponent = Vector512.Create(factor[3 * factorStride].Exponent);
                left3 = AddInt8(left3, sum + (3 * Tile), first, exponent);
                right3 = AddInt8(right3, sum + SumTile + (3 * Tile), second, exponent);
            }

            left0.Store(target);
            right0.Store(target + Tile);
            left1.Store(target + Stride);
            right1.Store(target + Stride + Tile);
            left2.Store(target + (2 * Stride));
            right2.Store(target + (2 * Stride) + Tile);
            left3.Store(target + (3 * Stride));
            right3.Store(target + (3 * Stride) + Tile);
        }

        for (; row < rows; row++)
        {
            float* target = c + (row * Stride);
            Vector512<float> left = Begin(target, goesOn);
            Vector512<float> right = Begin(target + Tile, goesOn);
            for (int group = 0; group < groups; group++)
            {
                int* sum = sums + (group * Int8Sums) + (row * Tile);
                ushort* scales = (ushort*)(weightScales + (group * Int8Panels.Stride));
                Vector512<float> exponent = Vector512.Create(factors[(row * factorStride) + group].Exponent);
                left = AddInt8(left, sum, Widen(scales), exponent);
                right = AddInt8(right, sum + SumTile, Widen(scales + Tile), exponent);
            }

            left.Store(target);
            right.Store(target + Tile);
        }
    }

    /// <summary>The same for NF4, whose x has a mantissa too, and sums a start.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddNF4(int* sums, byte* weightScales, int groups, GroupFactor* factors, nint factorStride, float* c, int rows, bool goesOn)
    {
        const int Stride = IntegerDotKernels.ResultStride;
        int row = 0;
        for (; row <= rows - RowsPerPass; row += RowsPerPass)
        {
            float* target = c + (row * Stride);
            Vector512<float> left0 = Begin(target, goesOn);
            Vector512<float> right0 = Begin(target + Tile, goesOn);
            Vector512<float> left1 = Begin(target + Stride, goesOn);
            Vector512<float> right1 = Begin(target + Stride + Tile, goesOn);
            Vector512<float> left2 = Begin(target + (2 * Stride), goesOn);
            Vector512<float> right2 = Begin(target + (2 * Stride) + Tile, goesOn);
            Vector512<float> left3 = Begin(target + (3 * Stride), goesOn);
            Vector512<float> right3 = Begin(target + (3 * Stride) + Tile, goesOn);
            for (int group = 0; group < groups; group++)
            {
                float* scales = (float*)(weightScales + (group * NF4Panels.Stride));
                Vector512<float> first = Vector512.Load(scales);
                Vector512<float> second = Vector512.Load(scales + Tile);
                int* sum = sums + (group * NF4Sums) + (row * Tile);
                GroupFactor* factor = factors + (row * factorStride) + group;
                left0 = AddNF4(left0, sum, first, factor);
                right0 = AddNF4(right0, sum + SumTile, second, factor);
                factor += factorStride;
                left1 = AddNF4(left1, sum + Tile, first, factor);
                right1 = AddNF4(right1, sum + SumTile + Tile, second, factor);
                factor += factorStride;
                left2 = AddNF4(left2, sum + (2 * Tile), first, factor);
                right2 = AddNF4(right2, sum + SumTile + (2 * Tile), second, factor);
                factor += factorStride;
                left3 = AddNF4(left3, sum + (3 * Tile), first, factor);
                right3 = AddNF4(right3, sum + SumTile + (3 * Tile), second, factor);
            }

            left0.Store(target);
            right0.Store(target + Tile);
            left1.Store(target + Stride);
            right1.Store(target + Stride + Tile);
            left2.Store(target + (2 * Stride));
            right2.Store(target + (2 * Stride) + Tile);
            left3.Store(target + (3 * Stride));
            right3.Store(target + (3 * Stride) + Tile);
        }

        for (; row < rows; row++)
        {
            float* target = c + (row * Stride);
            Vector512<float> left = Begin(target, goesOn);
            Vector512<float> right = Begin(target + Tile, goesOn);
            for (int group = 0; group < groups; group++)
            {
                int* sum = sums + (group * NF4Sums) + (row * Tile);
                float* scales = (float*)(weightScales + (group * NF4Panels.Stride));
                GroupFactor* factor = factors + (row * factorStride) + group;
                left = AddNF4(left, sum, Vector512.Load(scales), factor);
                right = AddNF4(right, sum + SumTile, Vector512.Load(scales + Tile), factor);
            }

            left.Store(target);
            right.Store(target + Tile);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Begin(float* result, bool goesOn) => goesOn ? Vector512.Load(result) : Vector512<float>.Zero;

    /// <summary>The sums of the low bytes lie two tiles behind those of the high ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> AddInt8(Vector512<float> result, int* sum, Vector512<float> scale, Vector512<float> exponent) =>
        Add(result, (Vector512.Load(sum) << 8) + Vector512.Load(sum + (2 * SumTile)), Avx512F.Scale(scale, exponent));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> AddNF4(Vector512<float> result, int* sum, Vector512<float> scale, GroupFactor* factor) =>
        Add(
            result,
            Vector512.Load(sum) + Vector512.Create(factor->Start),
            Avx512F.Scale(scale * factor->Mantissa, Vector512.Create(factor->Exponent)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Add(Vector512<float> result, Vector512<int> sum, Vector512<float> scale) =>
        Avx512F.FusedMultiplyAdd(Avx512F.ConvertToVector512Single(sum), scale, result);

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
