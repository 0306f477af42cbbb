using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Tensors;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cpu.Weights;

/// <summary><see cref="GroupInt8"/> in panels: a block is <c>[16 pairs of inputs][32 outputs][2]</c> signed bytes, then its scales, 32 bf16.</summary>
internal sealed unsafe class Int8Panels : QuantizedPanels
{
    /// <summary>See <see cref="QuantizedPanels.BlockStride"/>.</summary>
    public const int Stride = BlockBytes + (PanelLayout.Width * sizeof(ushort));

    public Int8Panels(int rows, int columns)
        : base(rows, columns, GroupInt8.GroupSize, sizeof(ushort))
    {
    }

    public override void Pack(int panel, float* weights, int count, byte* target)
    {
        sbyte* codes = stackalloc sbyte[GroupInt8.GroupSize];
        for (int n = 0; n < count; n++)
        {
            float* row = weights + ((nint)n * Columns);
            for (int block = 0; block < BlockCount; block++)
            {
                int first = block * GroupInt8.GroupSize;
                int depth = Math.Min(GroupInt8.GroupSize, Columns - first);
                Scales(target, block)[n] =
                    GroupInt8.Encode(new ReadOnlySpan<float>(row + first, depth), new Span<sbyte>(codes, depth));
                sbyte* to = (sbyte*)target + ((nint)block * Stride);
                for (int k = 0; k < depth; k++)
                {
                    to[Place(k, n)] = codes[k];
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadScales(byte* source, int firstBlock, int count, float* target)
    {
        for (int block = firstBlock; block < firstBlock + count; block++)
        {
            ushort* scales = Scales(source, block);
            for (int i = 0; i < PanelLayout.Width; i += Vector256<ushort>.Count)
            {
                (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Load(scales + i));
                (low << 16).AsSingle().Store(target + i);
                (high << 16).AsSingle().Store(target + i + Vector256<uint>.Count);
            }

            target += PanelLayout.Width;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadRow(int panel, byte* source, int column, float* target)
    {
        for (int k = 0; k < Columns; k++)
        {
            int block = k / GroupInt8.GroupSize;
            sbyte* codes = (sbyte*)source + ((nint)block * Stride);
            target[k] = codes[Place(k % GroupInt8.GroupSize, column)] * BFloat16.ToSingle(Scales(source, block)[column]);
        }
    }

    public override void Unpack(byte* codes, float* scales, int depth, float* target) =>
        Unpacking<Int8Codes>.Unpack(codes, scales, depth, target);

    /// <summary>Where the code of one of a block's inputs and an output lies.</summary>
    private static int Place(int k, int column) => (k / 2 * 2 * PanelLayout.Width) + (column * 2) + (k % 2);

    private static ushort* Scales(byte* panel, int block) => (ushort*)(panel + ((nint)block * Stride) + BlockBytes);
}
