using System.Buffers.Binary;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using InferenceServer.Cpu.Kernels;
using InferenceServer.Cpu.Memory;
using InferenceServer.Tensors.Quantization;

namespace InferenceServer.Cpu.Weights;

/// <summary>
/// <see cref="NormalFloat4"/> in panels: a block is <c>[8 words][32 outputs]</c> of 32 bits, a word being the codes of 8 successive inputs,
/// the first in the lowest 4 bits. Its scales are 32 codes of <see cref="DynamicByte"/>; their mean and the largest of each group of 256
/// lie beside the panels.
/// </summary>
internal sealed unsafe class NF4Panels : QuantizedPanels
{
    /// <summary>Inputs of a word.</summary>
    public const int WordDepth = 8;

    /// <summary>Bytes of a word of all 32 outputs.</summary>
    public const int WordBytes = PanelLayout.Width * sizeof(uint);

    private const int WordsPerBlock = NormalFloat4.BlockSize / WordDepth;

    private readonly float[] _groupMaxima;

    // The scales as they are found, [rows][blocks]; gone once they are quantised themselves.
    private float[]? _scales;
    private float _mean;

    public NF4Panels(int rows, int columns)
        : base(rows, columns, NormalFloat4.BlockSize, sizeof(byte))
    {
        // Rounded up to whole panels: the kernels read the scales of outputs that are not there, and then ignore them.
        long scales = (long)PanelLayout.PanelCount(rows) * PanelLayout.Width * BlockCount;
        _groupMaxima = new float[checked((int)((scales + DynamicByte.GroupSize - 1) / DynamicByte.GroupSize))];
        _scales = new float[(long)rows * BlockCount];
    }

    /// <summary>The 16 values of a code and the 256 of a scale's, where no garbage collector moves them.</summary>
    public static float* Values { get; } = Copy(NormalFloat4.Values);

    public override long ExtraBytes => ((long)_groupMaxima.Length + 1) * sizeof(float);

    private static float* ScaleValues { get; } = Copy(DynamicByte.Values);

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
                uint* words = (uint*)(target + ((nint)block * BlockBytes)) + n;
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
        double sum = 0;
        foreach (float scale in scales)
        {
            sum += scale;
        }

        _mean = (float)(sum / scales.Length);
        for (int group = 0; group * DynamicByte.GroupSize < scales.Length; group++)
        {
            int first = group * DynamicByte.GroupSize;
            Span<float> own = scales.AsSpan(first, Math.Min(DynamicByte.GroupSize, scales.Length - first));
            TensorPrimitives.Subtract(own, _mean, own);
            float largest = Math.Abs(TensorPrimitives.MaxMagnitude(own));
            _groupMaxima[group] = largest;
            for (int i = 0; i < own.Length; i++)
            {
                int row = Math.DivRem(first + i, BlockCount, out int scaleBlock);
                byte* panel = block.Pointer + (row / PanelLayout.Width * PanelBytes);
                Scales(panel)[(scaleBlock * PanelLayout.Width) + (row % PanelLayout.Width)] =
                    DynamicByte.Encode(largest == 0 ? 0 : own[i] / largest);
            }
        }

        _scales = null;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadScales(int panel, byte* source, int firstBlock, int count, float* target)
    {
        LookUp(Scales(source) + ((nint)firstBlock * PanelLayout.Width), count * PanelLayout.Width, target);
        float* maxima = stackalloc float[PanelLayout.Width];
        long first = ((long)panel * PanelLayout.Width * BlockCount) + firstBlock;
        Vector256<float> mean = Vector256.Create(_mean);
        int block = 0;
        while (block < count)
        {
            int end = Math.Min(count, block + FindMaxima(first + block, maxima));
            for (; block < end; block++)
            {
                for (int n = 0; n < PanelLayout.Width; n += Vector256<float>.Count)
                {
                    // Two roundings, as in the definition.
                    Vector256<float> product = Vector256.Load(target + n) * Vector256.Load(maxima + n);
                    (product + mean).Store(target + n);
                }

                target += PanelLayout.Width;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void LookUp(byte* codes, int count, float* target)
    {
        int i = 0;
        for (; ScaleLookUp.IsSupported && i <= count - ScaleLookUp.Count; i += ScaleLookUp.Count)
        {
            ScaleLookUp.Find(
                codes + i, out Vector512<float> first, out Vector512<float> second, out Vector512<float> third, out Vector512<float> fourth);
            first.Store(target + i);
            second.Store(target + i + Vector512<float>.Count);
            third.Store(target + i + (2 * Vector512<float>.Count));
            fourth.Store(target + i + (3 * Vector512<float>.Count));
        }

        float* values = ScaleValues;
        for (; i < count; i++)
        {
            target[i] = values[codes[i]];
        }
    }

    /// <summary>
    /// Finds the largest of the group of a block's scale, for each output of a panel: groups follow the matrix row by row, so each output
    /// may be in one of its own.
    /// </summary>
    /// <returns>For how many blocks from this one on they hold.</returns>
    private int FindMaxima(long firstScale, float* maxima)
    {
        int blocks = DynamicByte.GroupSize;
        for (int n = 0; n < PanelLayout.Width; n++)
        {
            long scale = firstScale + ((long)n * BlockCount);
            maxima[n] = _groupMaxima[scale / DynamicByte.GroupSize];
            blocks = Math.Min(blocks, DynamicByte.GroupSize - (int)(scale % DynamicByte.GroupSize));
        }

        return blocks;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadRow(int panel, byte* source, int column, float* target)
    {
        float* values = Values;
        byte* scales = Scales(source) + column;
        uint* words = (uint*)source + column;
        long firstScale = (((long)panel * PanelLayout.Width) + column) * BlockCount;
        float scale = 0;
        for (int k = 0; k < Columns; k++)
        {
            if (k % NormalFloat4.BlockSize == 0)
            {
                int block = k / NormalFloat4.BlockSize;
                float largest = _groupMaxima[(firstScale + block) / DynamicByte.GroupSize];
                scale = (ScaleValues[scales[block * PanelLayout.Width]] * largest) + _mean;
            }

            // A block is 8 words of 32 columns, so that words follow each other through all blocks.
            uint word = words[(nint)(k / WordDepth) * PanelLayout.Width];
            target[k] = values[(word >> (k % WordDepth * 4)) & 15] * scale;
        }
    }

    public override void Unpack(byte* codes, float* scales, int depth, float* target) =>
        Unpacking<NF4Codes>.Unpack(codes, scales, depth, target);

    public override void WriteExtras(Span<byte> target)
    {
        BinaryPrimitives.WriteSingleLittleEndian(target, _mean);
        MemoryMarshal.AsBytes(_groupMaxima.AsSpan()).CopyTo(target[sizeof(float)..]);
    }

    public override void ReadExtras(ReadOnlySpan<byte> source)
    {
        _mean = BinaryPrimitives.ReadSingleLittleEndian(source);
        source[sizeof(float)..].CopyTo(MemoryMarshal.AsBytes(_groupMaxima.AsSpan()));
        _scales = null;
    }

    public override bool HasSameExtras(QuantizedPanels other)
    {
        NF4Panels panels = (NF4Panels)other;
        return BitConverter.SingleToInt32Bits(_mean) == BitConverter.SingleToInt32Bits(panels._mean)
            && MemoryMarshal.AsBytes(_groupMaxima.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(panels._groupMaxima.AsSpan()));
    }

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

    private byte* Scales(byte* panel) => panel + ((nint)BlockCount * BlockBytes);
}
