using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Training;

namespace InferenceServer.Cpu.Weights;

/// <summary>
/// How a quantised matrix lies in its panels of 32 outputs: in blocks of <see cref="BlockBytes"/> of codes that share a scale for each output,
/// <c>[in / BlockDepth]</c>, and behind each block's codes its 32 scales.
/// </summary>
/// <remarks>Scales that follow all codes of a panel are short streams of their own beside those of the codes: memory gave 8 % less.</remarks>
internal abstract unsafe class QuantizedPanels
{
    /// <summary>Bytes of the codes of one block.</summary>
    public const int BlockBytes = 1024;

    /// <summary>Most inputs of a block, over all formats.</summary>
    public const int MaxBlockDepth = 64;

    protected QuantizedPanels(int rows, int columns, int blockDepth, int scaleBytes)
    {
        Rows = rows;
        Columns = columns;
        BlockDepth = blockDepth;
        BlockCount = (columns + blockDepth - 1) / blockDepth;

        BlockStride = BlockBytes + (PanelLayout.Width * scaleBytes);
    }

    /// <summary>Inputs that share a scale; a multiple of 8 that divides <see cref="MaxBlockDepth"/>.</summary>
    public int BlockDepth { get; }

    /// <summary>Blocks of a panel.</summary>
    public int BlockCount { get; }

    /// <summary>Bytes from one block to the next, whole cache lines.</summary>
    public int BlockStride { get; }

    /// <summary>Bytes of a panel.</summary>
    public long PanelBytes => (long)BlockCount * BlockStride;

    protected int Rows { get; }

    protected int Columns { get; }

    /// <summary>Quantises the rows of one panel; panels may be packed by several threads.</summary>
    /// <param name="panel">Number of the panel.</param>
    /// <param name="weights">Row-major.</param>
    /// <param name="count">Rows, 32 but for the last panel.</param>
    /// <param name="target">The panel, zeroed.</param>
    public abstract void Pack(int panel, float* weights, int count, byte* target);

    /// <summary>What is left to do once every panel is packed.</summary>
    /// <param name="block">The panels.</param>
    public virtual void Finish(NativeBlock block)
    {
    }

    /// <summary>Unpacks the scales of some blocks of a panel.</summary>
    /// <param name="source">The panel's first byte.</param>
    /// <param name="firstBlock">First block.</param>
    /// <param name="count">Blocks.</param>
    /// <param name="target"><c>[count][32]</c>.</param>
    public abstract void ReadScales(byte* source, int firstBlock, int count, float* target);

    /// <summary>Unpacks one output.</summary>
    /// <param name="panel">Number of the panel.</param>
    /// <param name="source">Its first byte.</param>
    /// <param name="column">The output's place in it.</param>
    /// <param name="target">As many floats as there are inputs.</param>
    public abstract void ReadRow(int panel, byte* source, int column, float* target);

    /// <summary>Unpacks one block, <c>[depth][32]</c>.</summary>
    /// <param name="codes">The block's codes.</param>
    /// <param name="scales">Its 32 scales.</param>
    /// <param name="depth">Inputs wanted, from the first on.</param>
    /// <param name="target">Receives <paramref name="depth"/> rows of 32.</param>
    public abstract void Unpack(byte* codes, float* scales, int depth, float* target);

    /// <summary>Unpacks some inputs of a panel's outputs, output by output.</summary>
    /// <param name="panel">Number of the panel.</param>
    /// <param name="source">Its first byte.</param>
    /// <param name="rows">Outputs, from the panel's first on.</param>
    /// <param name="firstColumn">First input.</param>
    /// <param name="columns">Inputs.</param>
    /// <param name="target">Receives <paramref name="rows"/> rows.</param>
    /// <param name="stride">Floats from one row of the target to the next.</param>
    public void ReadBlock(int panel, byte* source, int rows, int firstColumn, int columns, float* target, nint stride)
    {
        float* scales = stackalloc float[PanelLayout.Width];
        float* weights = stackalloc float[MaxBlockDepth * PanelLayout.Width];
        int end = firstColumn + columns;
        for (int block = firstColumn / BlockDepth; block * BlockDepth < end; block++)
        {
            // Each block is unpacked from its first input up to the last one wanted, then turned.
            int blockStart = block * BlockDepth;
            int blockEnd = Math.Min(blockStart + BlockDepth, end);
            int start = Math.Max(blockStart, firstColumn);
            ReadScales(source, block, 1, scales);
            Unpack(source + ((nint)block * BlockStride), scales, blockEnd - blockStart, weights);
            float* from = weights + ((start - blockStart) * PanelLayout.Width);
            TransposeBlock.Run(from, PanelLayout.Width, blockEnd - start, rows, target + start - firstColumn, stride);
        }
    }
}
