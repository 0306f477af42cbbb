namespace InferenceServer.Cpu.Weights;

/// <summary>
/// Where a weight matrix <c>[out, in]</c> keeps its elements. Both formats cut the outputs into panels of 32 and store a panel in the
/// order in which the multiplication walks over it, so that the weights stream through memory from front to back.
/// </summary>
/// <remarks>
/// F32: <c>[out/32][in][32]</c>. BF16: <c>[out/32][in/32][2 tiles][16 pairs][16 columns][2]</c>: for 16 outputs and two successive inputs
/// the weights lie in 64 bytes, both inputs of one output in the same 32 bits; this is what bf16 dot product and matrix tile instructions
/// want too. Outputs beyond the last and inputs beyond the last are zeros.
/// </remarks>
internal static class PanelLayout
{
    /// <summary>
    /// Version of the bytes of every format's panels, in files of packed weights. To be raised with any change of what is packed: order,
    /// padding, scales or rounding; files of other versions are then packed anew.
    /// </summary>
    public const int Version = 4;

    /// <summary>Outputs of a panel.</summary>
    public const int Width = 32;

    /// <summary>Inputs of a depth block (BF16).</summary>
    public const int DepthBlock = 32;

    /// <summary>Outputs of a tile (BF16).</summary>
    public const int TileWidth = 16;

    /// <summary>Bytes of a tile (BF16): 16 pairs of 16 columns of 2 weights.</summary>
    public const int TileBytes = 1024;

    /// <summary>Panels of a matrix with so many outputs.</summary>
    public static int PanelCount(int rows) => (rows + Width - 1) / Width;

    /// <summary>Bytes of one F32 panel.</summary>
    public static long F32PanelBytes(int columns) => (long)columns * Width * sizeof(float);

    /// <summary>Bytes of one BF16 panel.</summary>
    public static long BF16PanelBytes(int columns) => (long)((columns + DepthBlock - 1) / DepthBlock) * 2 * TileBytes;

    /// <summary>Bytes from the start of a BF16 panel to the weights of a column at input 0.</summary>
    public static int BF16ColumnOffset(int column) => (column / TileWidth * TileBytes) + (column % TileWidth * 2 * sizeof(ushort));
}
