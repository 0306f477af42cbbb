using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Emitted;

/// <summary>How a backend forms products: the emitted kernels it uses, for each kind of weights, and how that is told.</summary>
/// <param name="Tiles">For bf16 weights; null for none.</param>
/// <param name="BFloat16Dots">For bf16 weights where there are no tiles; null for none.</param>
/// <param name="IntegerDots">For quantised weights; null for none.</param>
internal sealed record ProductChoice(ITileKernels? Tiles, nint[]? BFloat16Dots, nint[]? IntegerDots)
{
    private const int EmittedBits = 512;

    /// <summary>Why the processor's tiles are not taken; null where they are, and where there are none or others were asked for.</summary>
    public string? TileAbsence { get; init; }

    /// <summary>Nothing emitted.</summary>
    public static ProductChoice None { get; } = new(null, null, null);

    /// <summary>What is printed at start.</summary>
    public string Description =>
        $"products: bf16 by {(Tiles is not null ? "AMX tiles" : BFloat16Dots is not null ? "vdpbf16ps" : "multiply-adds")}"
        + $", int8 by {Integers("vpdpwssd")}, nf4 by {Integers("vpdpbusd")}, f32 by multiply-adds"
        + (TileAbsence is null ? "" : $" (no AMX tiles: {TileAbsence})");

    /// <summary>Whether products with such weights keep no more of x than bf16 does: int8 meets 16-bit integers, NF4 8-bit ones.</summary>
    public bool RoundsInputs(WeightFormat weights) => weights switch
    {
        WeightFormat.BF16 => Tiles is not null || BFloat16Dots is not null,
        WeightFormat.NF4 => IntegerDots is not null,
        _ => false,
    };

    /// <summary>Chooses.</summary>
    /// <param name="wanted">The option.</param>
    /// <param name="vectorBits">Widest vectors that may be used.</param>
    /// <exception cref="ArgumentException">The processor lacks what is wanted, or the option's value is unknown.</exception>
    public static ProductChoice Make(CpuProducts wanted, int vectorBits)
    {
        if (wanted is CpuProducts.Dots or CpuProducts.Tiles && vectorBits < EmittedBits)
        {
            throw new ArgumentException($"Products {wanted} needs vectors of {EmittedBits} bits, VectorBits allows {vectorBits}");
        }

        return wanted switch
        {
            CpuProducts.Auto when vectorBits < EmittedBits => None,
            CpuProducts.Auto => new ProductChoice(
                TileSupport.Own.Kernels,
                ProcessorInstructions.HasFastBFloat16Dots ? EmittedKernels.BFloat16Dots : null,
                EmittedKernels.IntegerDots)
            {
                TileAbsence = TileSupport.Own.Absence,
            },
            CpuProducts.Vectors => None,
            CpuProducts.Dots => new ProductChoice(
                null, EmittedKernels.BFloat16Dots ?? throw Lacks(wanted, "AVX512_BF16"), EmittedKernels.IntegerDots ?? throw Lacks(wanted, "AVX512_VNNI")),
            CpuProducts.Tiles => new ProductChoice(
                TileSupport.Own.Kernels ?? throw LacksTiles(TileSupport.Own.Absence), null, EmittedKernels.IntegerDots ?? throw Lacks(wanted, "AVX512_VNNI")),
            _ => throw new ArgumentException($"Products {wanted} is not Auto, Vectors, Dots or Tiles"),
        };
    }

    private string Integers(string dots) => IntegerDots is null ? "multiply-adds" : Tiles is null ? dots : $"{dots} and AMX tiles";

    private static ArgumentException LacksTiles(string? absence) =>
        absence is null ? Lacks(CpuProducts.Tiles, "AMX_BF16") : new($"Products {CpuProducts.Tiles} needs AMX tiles, which this machine has, but: {absence}");

    private static ArgumentException Lacks(CpuProducts wanted, string feature) =>
        new($"Products {wanted} needs {feature} (and x64 Linux that lets new code run), which this machine lacks");
}
