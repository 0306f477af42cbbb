using InferenceServer.Cli.Rendering;

namespace InferenceServer.Cli.Comparison.Claims;

/// <summary>QLoRA (arXiv 2305.14314): a base in 4 bits needs less memory at equal loss.</summary>
internal sealed class QLoraClaim : Claim
{
    public override string Statement => "QLoRA needs less memory than LoRA at equal loss";

    public override Verdict Judge(ComparisonTable table) => AgainstLora(table, "qlora", (quantised, lora) =>
        (quantised.PeakMemory, lora.PeakMemory) is ({ } peak, { } loraPeak)
            ? Verdict.Of(
                peak < loraPeak && IsNearlyEqualOrLower(table, quantised.BestLoss, lora.BestLoss),
                $"{Format.Bytes(peak)} ({Format.Bytes(quantised.BaseBytes)} base), "
                    + $"LoRA {Format.Bytes(loraPeak)} ({Format.Bytes(lora.BaseBytes)} base); {Losses(quantised, lora)}")
            : Verdict.Unknown(Unmeasured));
}
