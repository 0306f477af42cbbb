namespace InferenceServer.Models.Configuration;

/// <summary>How rotary frequencies are stretched for long contexts (transformers' rope_scaling).</summary>
public abstract record RopeScaling
{
    /// <summary>All frequencies divided by the factor.</summary>
    public sealed record Linear(double Factor) : RopeScaling;

    /// <summary>
    /// NTK-aware base change. transformers recomputes it with the length of each call, which makes cached keys disagree with new
    /// ones; here, as in vLLM, one base for the server's longest sequence, and none when that fits the trained length.
    /// </summary>
    public sealed record Dynamic(double Factor, int TrainedLength) : RopeScaling;

    /// <summary>Llama 3.1: low frequencies divided, high ones kept, a ramp between.</summary>
    public sealed record Llama3(double Factor, double LowFrequencyFactor, double HighFrequencyFactor, int TrainedLength) : RopeScaling;

    /// <summary>YaRN (Peng et al. 2023, section 3.2 and 3.4).</summary>
    public sealed record Yarn(double Factor, double BetaFast, double BetaSlow, double AttentionFactor, int TrainedLength, bool Truncate) : RopeScaling;

    /// <summary>LongRoPE (Phi-3): one factor for each frequency, short or long by the server's longest sequence.</summary>
    public sealed record LongRope(float[] ShortFactors, float[] LongFactors, double AttentionFactor, int TrainedLength) : RopeScaling;
}
