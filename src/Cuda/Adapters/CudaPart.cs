using InferenceServer.Tensors;
using InferenceServer.Tensors.Adapters;

namespace InferenceServer.Cuda.Adapters;

/// <summary>What the host knows of an adapter's change of one module: enough to check and to size launches.</summary>
internal sealed class CudaPart
{
    public CudaPart(LowRankDelta delta)
    {
        Rank = delta.Rank;
        Blocks = delta.Gate?.BlockRanks.Length ?? 0;
        OutFeatures = delta.B?.Rows ?? delta.OutputScale?.Length ?? delta.OutputBias?.Length ?? 0;
        InFeatures = delta.A?.Columns ?? delta.InputScale?.Length ?? 0;
        ScalesInput = delta.InputScale is not null;
        ScalesOutput = delta.OutputScale is not null;
        ChangesOutput = Rank > 0 || delta.OutputScale is not null || delta.OutputBias is not null;
        LargestReplacedToken = delta.ReplacedRows is { Tokens.Length: > 0 } replaced ? replaced.Tokens[^1] : -1;
        ReplacedColumns = delta.ReplacedRows?.Values.Columns ?? 0;
    }

    /// <summary>Rank R; 0 without a low-rank part.</summary>
    public int Rank { get; }

    /// <summary>Blocks of the gate; 0 without one.</summary>
    public int Blocks { get; }

    /// <summary>Outputs: of B, the output scale and the bias; 0 when there is none of them.</summary>
    public int OutFeatures { get; }

    /// <summary>Inputs: of A (for an embedding the vocabulary) or the input scale; 0 when there is none of them.</summary>
    public int InFeatures { get; }

    public bool ScalesInput { get; }

    public bool ScalesOutput { get; }

    /// <summary>Whether a linear module's outputs change by more than another weight.</summary>
    public bool ChangesOutput { get; }

    /// <summary>-1 when no token is replaced.</summary>
    public int LargestReplacedToken { get; }

    /// <summary>Length of a replaced row; 0 when no token is replaced.</summary>
    public int ReplacedColumns { get; }

    /// <summary>Weight in place of the base's.</summary>
    public WeightMatrix? Replacement { get; set; }

    /// <summary>Norm weight in place of the base's.</summary>
    public DeviceBuffer? NormWeight { get; set; }

    /// <summary>Added to the output, or to a norm's bias.</summary>
    public DeviceBuffer? OutputBias { get; set; }

    /// <summary>Dot products with x that a linear module makes: its ranks and the scores of its gate. None beside a replacement.</summary>
    public int DotCount => Replacement is null ? Rank + Blocks : 0;
}
