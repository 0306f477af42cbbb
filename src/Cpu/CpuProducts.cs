namespace InferenceServer.Cpu;

/// <summary>How the products of x and base weights are formed; see <see cref="CpuOptions.Products"/>.</summary>
public enum CpuProducts
{
    /// <summary>The fastest that this processor has.</summary>
    Auto,

    /// <summary>
    /// Multiply-adds of f32 x and of the weights as f32, on every processor. The product of a bf16 or quantised matrix has the bits of the
    /// product with the same matrix as f32.
    /// </summary>
    Vectors,

    /// <summary>
    /// Dot product instructions (AVX512_BF16, AVX512_VNNI): bf16 weights meet x rounded to bf16; int8 and NF4 weights meet x as 16-bit
    /// integers with a scale for each 32 of a row.
    /// </summary>
    Dots,

    /// <summary>
    /// Matrix tiles (AMX): bf16 weights meet x rounded to bf16; the quantised have the bits of <see cref="Dots"/>, by tiles from 17 rows on.
    /// </summary>
    Tiles,
}
