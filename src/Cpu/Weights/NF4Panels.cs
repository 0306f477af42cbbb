using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cpu.Weights;

/// <summary>
/// <see cref="NormalFloat4"/> in panels: a block is <c>[8 words][32 outputs]</c> of 32 bits, a word being the codes of 8 successive inputs,
/// the first in the lowest 4 bits, then its scales, 32 f32. They have the values that their own quantisation (<see cref="DynamicByte"/>) leaves them.
/// </summary>
/// <remarks>
/// As codes of 8 bits the scales would take 0.37 bits a weight less; looking them up took a third of the time of a product with one row.
/// </remarks>
internal sealed unsafe class NF4Panels : QuantizedPanels
{
    /// <summary>Inputs of a word.</summary>
    public const int WordDepth = 8;

    /// <summary>Bytes of a word of all 32 outputs.</summary>
    public const int WordBytes = PanelLayout.Width * sizeof(uint);

    /// <summary>See <see cref="QuantizedPanels.BlockStride"/>.</summary>
    public const int Stride = BlockBytes + (PanelLayout.Width * sizeof(float));

    private const int WordsPerBlock = NormalFloat4.BlockSize / WordDepth;

    // The scales as they are found, [rows][blocks]; gone once they are quantised themselves.
    private float[]? _scales;

    public NF4Panels(int rows, int columns)
        : base(rows, columns, NormalFloat4.BlockSize, sizeof(float))
    {
        _scales = new float[(long)rows * BlockCount];
    }

    /// <summary>The 16 values of a code, where no garbage collector moves them.</summary>
    public static float* Values { get; } = Copy(NormalFloat4.Values);

    public override void Pack(int panel, float* weights, int count, byte* target)
    {
        byte* codes = stackalloc byte[NormalFloat4.BlockSize];
        for (int n = 0; n < count; n++)
        {
            float* row = weights + ((nint)n * Columns);
            long firstScale = (((long)panel * PanelLayout.Width) + n) * BlockCount;
            for (int block = 0; block < BlockCount; block++)
            {
                int first = block * NormalFloat4.BlockSize;
                int depth = Math.Min(NormalFloat4.BlockSize, Columns - first);
                new Span<byte>(codes, NormalFloat4.BlockSize).Fill(NormalFloat4.ZeroCode);
                _scales![firstScale + block] =
                    NormalFloat4.Encode(new ReadOnlySpan<float>(row + first, depth), new Span<byte>(codes, depth));
                uint* words = (uint*)(target + ((nint)block * Stride)) + n;
                for (int word = 0; word < WordsPerBlock; word++)
                {
                    words[word * PanelLayout.Width] = Word(codes + (word * WordDepth));
                }
            }
        }
    }

    public override void Finish(NativeBlock block)
    {
        float[] scales = _scales!;
        DynamicByte.Round(scales);
        for (int i = 0; i < scales.Length; i++)
        {
            int row = Math.DivRem(i, BlockCount, out int scaleBlock);
            byte* panel = block.Pointer + (row / PanelLayout.Width * PanelBytes);
            Scales(panel, scaleBlock)[row % PanelLayout.Width] = scales[i];
        }

        _scales = null;
    }

    public override void ReadScales(byte* source, int firstBlock, int count, float* target)
    {
        for (int i = 0; i < count; i++)
        {
            new ReadOnlySpan<float>(Scales(source, firstBlock + i), PanelLayout.Width).CopyTo(new Span<float>(target + (i * PanelLayout.Width), PanelLayout.Width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadRow(int panel, byte* source, int column, float* target)
    {
        float* values = Values;
        for (int k = 0; k < Columns; k++)
        {
            int block = k / NormalFloat4.BlockSize;
            uint* words = (uint*)(source + ((nint)block * Stride)) + column;
            uint word = words[k % NormalFloat4.BlockSize / WordDepth * PanelLayout.Width];
            target[k] = values[(word >> (k % WordDepth * 4)) & 15] * Scales(source, block)[column];
        }
    }

    public override void Unpack(byte* codes, float* scales, int depth, float* target) =>
        Unpacking<NF4Codes>.Unpack(codes, scales, depth, target);

    private static uint Word(byte* codes)
    {
        uint word = 0;
        for (int i = WordDepth - 1; i >= 0; i--)
        {
            word = (word << 4) | codes[i];
        }

        return word;
    }

    // Lives as long as the process.
    private static float* Copy(ReadOnlySpan<float> values)
    {
        const nuint LineBytes = 64;
        float* copy = (float*)NativeMemory.AlignedAlloc((nuint)values.Length * sizeof(float), LineBytes);
        values.CopyTo(new Span<float>(copy, values.Length));
        return copy;
    }

    private static float* Scales(byte* panel, int block) => (float*)(panel + ((nint)block * Stride) + BlockBytes);
}
