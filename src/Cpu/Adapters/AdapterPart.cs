using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Adapters;

/// <summary>What an adapter changes of one module, in native memory. A is <c>[R][in]</c>, B lies in panels <c>[out/32][R][32]</c>.</summary>
internal sealed unsafe class AdapterPart : IDisposable
{
    private const int Lanes = 16;

    /// <summary>Rank R; 0 without a low-rank part.</summary>
    public required int Rank { get; init; }

    /// <summary>Outputs: of B, the output scale and the bias; 0 when there is none of them.</summary>
    public required int OutFeatures { get; init; }

    /// <summary>Inputs: of A (for an embedding the vocabulary) or the input scale; 0 when there is none of them.</summary>
    public required int InFeatures { get; init; }

    /// <summary>Format of A and B.</summary>
    public required WeightFormat Format { get; init; }

    /// <summary>Down projection <c>[R][AStride]</c>.</summary>
    public NativeBlock? A { get; init; }

    /// <summary>Up projection in panels of 32 outputs, zeros beyond the last.</summary>
    public NativeBlock? B { get; init; }

    /// <summary>Weighs blocks of the ranks, or null.</summary>
    public AdapterGate? Gate { get; init; }

    /// <summary>Factor of the base's output, padded to 16.</summary>
    public NativeBlock? OutputScale { get; init; }

    /// <summary>Factor of the base's input, padded to 16.</summary>
    public NativeBlock? InputScale { get; init; }

    /// <summary>Added to the output, or to a norm's bias.</summary>
    public CpuBuffer? OutputBias { get; init; }

    /// <summary>Weight in place of the base's.</summary>
    public CpuWeightMatrix? Replacement { get; init; }

    /// <summary>Norm weight in place of the base's.</summary>
    public CpuBuffer? NormWeight { get; init; }

    /// <summary>Replaced token ids, ascending; empty when none.</summary>
    public int[] ReplacedTokens { get; init; } = [];

    /// <summary>Their rows, <c>[tokens][ReplacedStride]</c>, f32.</summary>
    public NativeBlock? ReplacedRows { get; init; }

    /// <summary>Length of a replaced row.</summary>
    public int ReplacedColumns { get; init; }

    /// <summary>Elements from one row of A to the next: the inputs, padded to 16 by zeros.</summary>
    public int AStride => RoundUp(InFeatures);

    /// <summary>Floats from one replaced row to the next.</summary>
    public int ReplacedStride => RoundUp(ReplacedColumns);

    /// <summary>Native bytes of all of it.</summary>
    public long ByteCount =>
        (A?.ByteCount ?? 0) + (B?.ByteCount ?? 0) + (Gate?.ByteCount ?? 0) + (OutputScale?.ByteCount ?? 0) + (InputScale?.ByteCount ?? 0)
        + (OutputBias?.ByteCount ?? 0) + (Replacement?.ByteCount ?? 0) + (NormWeight?.ByteCount ?? 0) + (ReplacedRows?.ByteCount ?? 0);

    public static int RoundUp(int count) => (count + Lanes - 1) / Lanes * Lanes;

    public void Dispose()
    {
        A?.Dispose();
        B?.Dispose();
        Gate?.Dispose();
        OutputScale?.Dispose();
        InputScale?.Dispose();
        OutputBias?.Dispose();
        Replacement?.Dispose();
        NormWeight?.Dispose();
        ReplacedRows?.Dispose();
    }
}
