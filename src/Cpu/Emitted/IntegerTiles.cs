using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
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

    private static readonly Vector512<short> s_nf4Order = NF4Order();

    /// <summary>Floats of scratch memory: the weights of so many groups as bytes, then sums.</summary>
    public static int ScratchFloats(int groups) =>
        ((groups * 4 * IntegerTileCode.WeightTileBytes) + IntegerTileCode.SumBytes) / sizeof(float);

    /// <summary>Where each place of 32 integers of x takes its own from: those of NF4 lie in the order of its pairs.</summary>
    public static Vector512<short> Order(WeightFormat format) => format == WeightFormat.NF4 ? s_nf4Order : Vector512<short>.Indices;

    private static Vector512<short> NF4Order()
    {
        Span<short> order = stackalloc short[Vector512<short>.Count];
        for (int i = 0; i < order.Length; i++)
        {
            order[i] = (short)((i % 4) switch { 1 => i + 1, 2 => i - 1, _ => i });
        }

        return Vector512.Create<short>(order);
    }

    /// <summary>Turns codes into bytes by quads of inputs: int8 <c>[groups][2 tiles][8][16][4]</c>, NF4 <c>[groups][2 tiles][high, low][8][16][4]</c>.</summary>
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
    /// <param name="x">Split x; its first row and group are given by the next two.</param>
    /// <param name="firstRow">First row.</param>
    /// <param name="firstGroup">First group of 32 inputs.</param>
    /// <param name="scales">Scales of x.</param>
    /// <param name="weights">Unpacked weights of the piece.</param>
    /// <param name="sums">Scratch memory of the sums.</param>
    /// <param name="weightScales">Scales of the panel from the piece's first block on.</param>
    /// <param name="groups">Groups of the piece.</param>
    /// <param name="c">Result of the first row.</param>
    /// <param name="rows">Rows wanted of the 16.</param>
    /// <param name="resume">Whether to go on from the result.</param>
    public static void Multiply(
        ITileKernels kernels,
        WeightFormat format,
        SplitRows x,
        int firstRow,
        int firstGroup,
        QuantizeRows scales,
        byte* weights,
        int* sums,
        byte* weightScales,
        int groups,
        float* c,
        int rows,
        bool resume)
    {
        const int GroupBytes = QuantizeRows.GroupSize;
        for (int row = 0; !resume && row < rows; row++)
        {
            new Span<float>(c + (row * IntegerDotKernels.ResultStride), PanelLayout.Width).Clear();
        }

        nint start = (firstRow * x.Stride) + ((nint)firstGroup * GroupBytes);
        DotArguments arguments = new() { XStride = x.Stride, C = (float*)sums, Blocks = 1 };
        for (int group = 0; group < groups; group++)
        {
            arguments.X = (byte*)x.High + start + (group * GroupBytes);
            arguments.B1 = (byte*)x.Low + start + (group * GroupBytes);
            float* xScales = scales.Scales + (firstRow * scales.ScaleStride) + firstGroup + group;
            if (format == WeightFormat.Int8)
            {
                arguments.B0 = weights + (group * 2 * IntegerTileCode.WeightTileBytes);
                kernels.Int8(&arguments);
                AddInt8(sums, (ushort*)weightScales + (group * PanelLayout.Width), xScales, scales.ScaleStride, c, rows);
                continue;
            }

            for (int tile = 0; tile < 2; tile++)
            {
                arguments.B0 = weights + (((group * 4) + (tile * 2)) * IntegerTileCode.WeightTileBytes);
                kernels.NF4(&arguments);
                float* tileScales = (float*)weightScales + (group / 2 * PanelLayout.Width) + (tile * Tile);
                AddNF4(sums, tileScales, xScales, scales.ScaleStride, c + (tile * Tile), rows);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddInt8(int* sums, ushort* weightScales, float* xScales, nint scaleStride, float* c, int rows)
    {
        Vector512<float> first = Widen(weightScales);
        Vector512<float> second = Widen(weightScales + Tile);
        for (int row = 0; row < rows; row++)
        {
            int* sum = sums + (row * Tile);
            Vector512<float> factor = Vector512.Create(xScales[row * scaleStride]);
            float* target = c + (row * IntegerDotKernels.ResultStride);
            Vector512<int> left = (Vector512.Load(sum) << 8) + Vector512.Load(sum + (2 * Tile * Tile));
            Vector512<int> right = (Vector512.Load(sum + (Tile * Tile)) << 8) + Vector512.Load(sum + (3 * Tile * Tile));
            Add(left, first, factor, target);
            Add(right, second, factor, target + Tile);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddNF4(int* sums, float* weightScales, float* xScales, nint scaleStride, float* c, int rows)
    {
        Vector512<float> scale = Vector512.Load(weightScales);
        for (int row = 0; row < rows; row++)
        {
            // Sums of parts may leave 32 bits; the whole does not, so that what wraps comes back.
            int* sum = sums + (row * Tile);
            Vector512<int> whole = (((Vector512.Load(sum) << 8) + Vector512.Load(sum + (Tile * Tile))) << 8) + Vector512.Load(sum + (2 * Tile * Tile));
            Add(whole, scale, Vector512.Create(xScales[row * scaleStride]), c + (row * IntegerDotKernels.ResultStride));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(Vector512<int> sum, Vector512<float> scale, Vector512<float> factor, float* target) =>
        Avx512F.FusedMultiplyAdd(Avx512F.ConvertToVector512Single(sum) * scale, factor, Vector512.Load(target)).Store(target);

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
            for (int quad = 0; quad < QuantizeRows.GroupSize / 4; quad++)
            {
                for (int tile = 0; tile < 2; tile++)
                {
                    Vector512<uint> low = Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)(codes + (tile * PairBytes / 2))));
                    Vector512<uint> high = Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)(codes + PairBytes + (tile * PairBytes / 2))));
                    (low | (high << 16)).AsByte().Store(target + (tile * IntegerTileCode.WeightTileBytes) + (quad * KernelParts.VectorBytes));
                }

                codes += 2 * PairBytes;
            }

            target += 2 * IntegerTileCode.WeightTileBytes;
        }
    }

    /// <summary>Eight inputs of a column are two quads: the first, second, fifth and sixth, then the others.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackNF4(byte* codes, int groups, byte* target)
    {
        Vector512<short> values = Vector512.Load(IntegerWeights.Values);
        for (int group = 0; group < groups; group++)
        {
            for (int word = 0; word < QuantizeRows.GroupSize / NF4Panels.WordDepth; word++)
            {
                for (int tile = 0; tile < 2; tile++)
                {
                    Vector512<short> indices = Vector512.Load((short*)(codes + (tile * KernelParts.VectorBytes)));
                    byte* to = target + (tile * 2 * IntegerTileCode.WeightTileBytes) + (word * 2 * KernelParts.VectorBytes);
                    for (int half = 0; half < 2; half++)
                    {
                        Vector512<short> first = Avx512BW.PermuteVar32x16(values, indices);
                        Vector512<short> second = Avx512BW.PermuteVar32x16(values, Vector512.ShiftRightLogical(indices, 4));
                        Join(High(first), High(second)).Store((short*)to);
                        Join(first, second).Store((short*)(to + IntegerTileCode.WeightTileBytes));
                        indices = Vector512.ShiftRightLogical(indices, 8);
                        to += KernelParts.VectorBytes;
                    }
                }

                codes += NF4Panels.WordBytes;
            }

            target += 4 * IntegerTileCode.WeightTileBytes;
        }
    }

    /// <summary>What is left of an integer without its low signed byte, in 256ths.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<short> High(Vector512<short> value) => (value + Vector512.Create((short)128)) >> 8;

    /// <summary>The low bytes of both beside each other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<short> Join(Vector512<short> first, Vector512<short> second) => (first & Vector512.Create((short)0xff)) | (second << 8);
}
