namespace InferenceServer.Cpu.Emitted;

/// <summary>How a backend forms products: the emitted kernels it uses, for each kind of weights, and how that is told.</summary>
internal sealed record ProductChoice(nint[]? BFloat16Dots, nint[]? IntegerDots)
{
    private const int DotBits = 512;

    /// <summary>What is printed at start.</summary>
    public string Description =>
        $"products: bf16 by {(BFloat16Dots is null ? "multiply-adds" : "vdpbf16ps")}"
        + $", int8 and nf4 by {(IntegerDots is null ? "multiply-adds" : "vpdpwssd")}, f32 by multiply-adds";

    /// <summary>Chooses.</summary>
    /// <param name="wanted">The option.</param>
    /// <param name="vectorBits">Widest vectors that may be used.</param>
    /// <exception cref="ArgumentException">The processor lacks what is wanted, or the option's value is unknown.</exception>
    public static ProductChoice Make(CpuProducts wanted, int vectorBits)
    {
        ProductChoice none = new(null, null);
        switch (wanted)
        {
            case CpuProducts.Auto:
                return vectorBits == DotBits ? new ProductChoice(EmittedKernels.BFloat16Dots, EmittedKernels.IntegerDots) : none;
            case CpuProducts.Vectors:
                return none;
            case CpuProducts.Dots when vectorBits < DotBits:
                throw new ArgumentException($"Products Dots needs vectors of {DotBits} bits, VectorBits allows {vectorBits}");
            case CpuProducts.Dots:
                return new ProductChoice(
                    EmittedKernels.BFloat16Dots ?? throw Lacks("AVX512_BF16"), EmittedKernels.IntegerDots ?? throw Lacks("AVX512_VNNI"));
            default:
                throw new ArgumentException($"Products {wanted} is not Auto, Vectors or Dots");
        }
    }

    private static ArgumentException Lacks(string feature) =>
        new($"Products Dots needs {feature} (and x64 Linux that lets new code run), which this machine lacks");
}
