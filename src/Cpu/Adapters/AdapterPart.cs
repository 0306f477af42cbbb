using InferenceServer.Cpu.Memory;
using InferenceServer.Cpu.Weights;
using InferenceServer.Tensors;

namespace InferenceServer.Cpu.Adapters;

/// <summary>What an adapter changes of one module, in native memory. A and B lie in the adapter's one block, see <see cref="LowRankLayout"/>.</summary>
internal sealed unsafe class AdapterPart : IDisposable
{
    /// <summary>Rank R; 0 without a low-rank part.</summary>
    public required int Rank { get; init; }

    /// <summary>Outputs: of B, the output scale and the bias; 0 when there is none of them.</summary>
    public required int OutFeatures { get; init; }

    /// <summary>Inputs: of A (for an embedding the vocabulary) or the input scale; 0 when there is none of them.</summary>
    public required int InFeatures { get; init; }

    /// <summary>Format of A and B.</summary>
    public required WeightFormat Format { get; init; }

    /// <summary>Down projection; null without a low-rank part. Valid as long as the adapter.</summary>
    public byte* A { get; init; }

    /// <summary>Up projection; null without a low-rank part.</summary>
    public byte* B { get; init; }

    /// <summary>Weighs blocks of the ranks, or null.</summary>
    public AdapterGate? Gate { get; init; }

    /// <summary>Factor of the base's output, padded to 32.</summary>
    public NativeBlock? OutputScale { get; init; }

    /// <summary>Factor of the base's input, padded to 32.</summary>
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

    /// <summary>Floats from one replaced row to the next.</summary>
    public int ReplacedStride => LowRankLayout.RoundUp(ReplacedColumns);

    /// <summary>Native bytes of all but A and B.</summary>
    public long ByteCount =>
        (Gate?.ByteCount ?? 0) + (OutputScale?.ByteCount ?? 0) + (InputScale?.ByteCount ?? 0)
        + (OutputBias?.ByteCount ?? 0) + (Replacement?.ByteCount ?? 0) + (NormWeight?.ByteCount ?? 0) + (ReplacedRows?.ByteCount ?? 0);

    public void Dispose()
    {
        Gate?.Dispose();
        OutputScale?.Dispose();
        InputScale?.Dispose();
        OutputBias?.Dispose();
        Replacement?.Dispose();
        NormWeight?.Dispose();
        ReplacedRows?.Dispose();
    }
}
