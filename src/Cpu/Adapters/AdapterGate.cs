using InferenceServer.Cpu.Memory;

namespace InferenceServer.Cpu.Adapters;

/// <summary>The gate of an <see cref="AdapterPart"/> in native memory, f32 whatever the format of A and B.</summary>
internal sealed class AdapterGate : IDisposable
{
    /// <summary>Ranks of each block.</summary>
    public required int[] BlockRanks { get; init; }

    /// <summary>Scores by input, laid out as an A of as many ranks as there are blocks.</summary>
    public required NativeBlock Weight { get; init; }

    /// <summary>Added to the scores; null for zeros.</summary>
    public required NativeBlock? Bias { get; init; }

    /// <summary>Divides the scores.</summary>
    public required float Temperature { get; init; }

    /// <summary>Blocks that take part in a row.</summary>
    public required int TopK { get; init; }

    public int Blocks => BlockRanks.Length;

    /// <summary>Native bytes.</summary>
    public long ByteCount => Weight.ByteCount + (Bias?.ByteCount ?? 0);

    public void Dispose()
    {
        Weight.Dispose();
        Bias?.Dispose();
    }
}
